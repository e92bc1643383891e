package xmlrpc

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/atm/internal/needs"
)

// addSeeds adds requests of real clients and of attackers, except for bodies that are only
// large.
func addSeeds(f *testing.F) {
	for _, body := range captured(f) {
		f.Add(body)
	}
	for _, tt := range hostile() {
		if len(tt.body) < 4<<10 {
			f.Add([]byte(tt.body))
		}
	}
}

// FuzzDecode decodes any bytes in any encoding. A decoded call is within the limits, and the
// same call when it is encoded and decoded again.
func FuzzDecode(f *testing.F) {
	addSeeds(f)
	limits := Limits{BodyBytes: 1 << 20, Depth: 12, Elements: 200, StringBytes: 1 << 10, Calls: 1}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, charset := range []string{"", "iso-8859-1"} {
			c, fault := decodeCall(body, charset, limits)
			if fault != nil {
				if !slices.Contains([]int{NotWellFormed, UnknownEncoding, InvalidRequest},
					fault.Code) || fault.Text == "" {
					t.Fatalf("fault %v", fault)
				}
				continue
			}
			if n := count(c.args); n > limits.Elements || len(c.method) > maxMethodName {
				t.Fatalf("%d values in spite of the limits", n)
			}
			again, fault := decodeCall(appendCall(nil, c), "", defaults(t))
			if fault != nil {
				t.Fatalf("%v became %q: %v", c, appendCall(nil, c), fault)
			}
			if diff := cmp.Diff(asWritten(c.args), again.args); diff != "" ||
				c.method != again.method {
				t.Fatal(diff)
			}
		}
	})
}

func count(values []Value) int {
	n := len(values)
	for _, v := range values {
		n += count(v.Items)
		for _, m := range v.Members {
			n += 1 + count([]Value{m.Value})
		}
	}
	return n
}

// asWritten is values after a round trip: an int beyond 32 bits becomes a string.
func asWritten(values []Value) []Value {
	written := slices.Clone(values)
	for i := range written {
		v := &written[i]
		if v.Kind == Int && !isInt([]byte(v.Text), 32) {
			v.Kind = String
		}
		v.Items = asWritten(v.Items)
		v.Members = slices.Clone(v.Members)
		for j, m := range v.Members {
			v.Members[j].Value = asWritten([]Value{m.Value})[0]
		}
	}
	return written
}

// FuzzRoundTrip encodes any text as a name and as a value, and decodes it again.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range []string{
		"", " a ", "\r\n", "]]>", "&amp;", "\x00\ufffe\xff", "é😀",
		"<![CDATA[",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		limits := Limits{Depth: 32, Elements: 100, StringBytes: 8 * (len(s) + 1)}
		sent := call{"m", []Value{
			StringValue(s), Base64Value([]byte(s)),
			StructValue(Member{s, StringValue(s)}),
		}}
		got, fault := decodeCall(appendCall(nil, sent), "", limits)
		if fault != nil {
			t.Fatal(fault)
		}
		text := strings.Map(func(r rune) rune {
			if !isXMLChar(r) {
				return '\ufffd'
			}
			return r
		}, s)
		want := call{"m", []Value{
			StringValue(text), Base64Value([]byte(s)),
			StructValue(Member{text, StringValue(text)}),
		}}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(call{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzAgainstStandardLibrary compares the scanner with encoding/xml in both directions: what
// one of them accepts, the other accepts too, with the same result.
func FuzzAgainstStandardLibrary(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if text, fault := toUTF8(body, ""); fault == nil {
			compareDecoders(t, text)
		}
	})
}

func compareDecoders(t *testing.T, text []byte) {
	t.Helper()
	var d decoder
	got, fault := d.decode(text, Limits{Depth: 1 << 10, Elements: 1 << 20, StringBytes: 1 << 20})
	want, err := decodeByStandardLibrary(text)
	switch {
	case fault == nil && err != nil:
		t.Fatalf("%q: decoded to %v, but the standard library says %v", text, got, err)
	case fault == nil:
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(call{})); diff != "" {
			t.Fatalf("%q: %s", text, diff)
		}
	case err == nil && !lenient(text):
		t.Fatalf("%q: %v, but the standard library reads %v", text, fault, want)
	}
}

// lenient reports whether text may have something that encoding/xml accepts although the
// specifications forbid it. encoding/xml does not check declarations of namespaces, or colons
// in names; it accepts references to surrogates, and references and CDATA sections outside the
// root element.
func lenient(text []byte) bool {
	for _, suspect := range []string{"xmlns", ":", "&", "<![CDATA["} {
		if bytes.Contains(text, []byte(suspect)) {
			return true
		}
	}
	return false
}

// FuzzAgainstPython compares decoded calls with Python's parser, which accepts more, but must
// read the same values.
func FuzzAgainstPython(f *testing.F) {
	needs.Program(f, "python3")
	addSeeds(f)
	python := startPython(f)
	limits := Limits{Depth: 64, Elements: 10_000, StringBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, body []byte) {
		text, fault := toUTF8(body, "")
		if fault != nil {
			return
		}
		var d decoder
		got, fault := d.decode(text, limits)
		if fault != nil || bytes.Contains(text, []byte("xmlns")) {
			return // Python looks at the prefix alone
		}
		want := canonical(got)
		if answer := python.parse(t, text); answer != want {
			t.Fatalf("%q:\nours   %s\nPython %s", text, want, answer)
		}
	})
}

// fragments are pieces of documents, valid and invalid.
var fragments = []string{
	"<methodCall>", "</methodCall>", "<methodName>", "</methodName>", "m", "<params>", "</params>",
	"<params/>",
	"<param>", "</param>", "<value>", "</value>", "<value/>", "<array>", "</array>", "<data>",
	"</data>", "<data/>",
	"<struct>", "</struct>", "<struct/>", "<member>", "</member>", "<name>", "</name>", "<name/>",
	"<int>", "</int>", "<string>", "</string>", "<nil/>", "<boolean>1</boolean>",
	"<double>-1.5e3</double>",
	"1", " ", "\r", "\n", "é", "]]>", "<!--", "-->", "<![CDATA[", "&lt;", "&#13;", "&#x1F600;", "&",
	"<", ">", "/",
	"<ex:nil xmlns:ex='" + extensions + "'/>", "<ex:nil/>", " xmlns:ex='" + extensions + "'",
	" xmlns='urn:x'", " xmlns=''",
	"<base64>AP8=</base64>", "<dateTime.iso8601>19980717T14:08:55</dateTime.iso8601>", "<?xml?>",
	"<!DOCTYPE",
}

// inFragments finds the numbers of the fragments of a document.
func inFragments(t testing.TB, document string) (numbers []byte) {
	t.Helper()
	for document != "" {
		best := -1
		for i, fragment := range fragments {
			if strings.HasPrefix(document, fragment) &&
				(best < 0 || len(fragment) > len(fragments[best])) {
				best = i
			}
		}
		if best < 0 {
			t.Fatalf("no fragment begins %q", document)
		}
		numbers = append(numbers, byte(best))
		document = document[len(fragments[best]):]
	}
	return numbers
}

// FuzzGrammar builds documents from fragments, so that more of them are nearly valid, and
// compares the decoder with encoding/xml.
func FuzzGrammar(f *testing.F) {
	for _, content := range []string{
		"", "<value/>", "<value>m<!--1-->é</value>", "<value> <int>1</int>\r\n</value>",
		"<value><array><data><value><nil/></value><value><![CDATA[]]></value></data></array></value>",
		"<value><struct><member><name>m</name><value><string>&lt;</string></value></member></struct></value>",
		"<value><ex:nil xmlns:ex='" + extensions + "'/></value>",
	} {
		f.Add(inFragments(f, enveloped(content)))
	}
	f.Fuzz(func(t *testing.T, numbers []byte) {
		var text []byte
		for _, n := range numbers {
			text = append(text, fragments[int(n)%len(fragments)]...)
		}
		compareDecoders(t, text)
	})
}
