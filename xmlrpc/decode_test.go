package xmlrpc

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func defaults(t testing.TB) Limits {
	t.Helper()
	limits, err := Limits{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return limits
}

// captured returns the bodies that real clients sent, by file name.
func captured(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/requests/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 40 {
		t.Fatalf("only %d captured requests", len(files))
	}
	bodies := make(map[string][]byte)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bodies[filepath.Base(file)] = body
	}
	return bodies
}

// methodOf is the method of a captured request. It is the last part of the file name, after the
// name of the client; both may contain dots.
func methodOf(t testing.TB, file string) string {
	t.Helper()
	for _, method := range []string{
		"inquiry", "deposit", "withdraw", "no_such_method", "nosuch", "system.listMethods",
		"system.methodHelp",
		"system.methodSignature", "system.multicall",
	} {
		if strings.HasSuffix(file, "."+method+".xml") {
			return method
		}
	}
	t.Fatalf("%s is of no known method", file)
	return ""
}

// wantCaptured is the call that all clients meant. PHP writes the double with more digits, and
// Go asked for another unknown method and made fewer calls.
func wantCaptured(t testing.TB, file string) call {
	t.Helper()
	account, amount := IntValue(100), Value{Kind: Double, Text: "25.5"}
	if strings.HasPrefix(file, "php") {
		amount.Text = "25.500000"
	}
	method := methodOf(t, file)
	switch method {
	case "inquiry":
		return call{method, []Value{account}}
	case "deposit", "withdraw":
		return call{method, []Value{account, amount}}
	case "system.methodHelp", "system.methodSignature":
		return call{method, []Value{StringValue("deposit")}}
	case "system.multicall":
		if strings.HasPrefix(file, "go-kolo") {
			return call{method, []Value{ArrayValue(packed(call{"inquiry", []Value{account}}),
				packed(call{"nosuch", nil}))}}
		}
		return call{method, []Value{ArrayValue(
			packed(call{"inquiry", []Value{account}}),
			packed(call{"deposit", []Value{account, amount}}),
			packed(call{"withdraw", []Value{account, amount}}),
			packed(call{"inquiry", []Value{IntValue(999999)}}),
			packed(call{"no_such_method", nil}),
		)}}
	}
	return call{method, nil}
}

// diffCalls compares calls regardless of the order of members, which is random in Perl's
// requests.
func diffCalls(want, got call) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(call{}),
		cmpopts.SortSlices(func(a, b Member) bool { return a.Name < b.Name }))
}

func TestCapturedRequestsAreReadAsTheyWereMeant(t *testing.T) {
	for file, body := range captured(t) {
		got, fault := decodeCall(body, "", defaults(t))
		if fault != nil {
			t.Errorf("%s: %v", file, fault)
			continue
		}
		if diff := diffCalls(wantCaptured(t, file), got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

// TestDamagedRequestReadsAlikeInTwoDecoders truncates each request at each byte and flips each
// of its bits. A truncated request is not well-formed. One with a flipped bit is a fault, or a
// call that a second decoder reads in the same way.
func TestDamagedRequestReadsAlikeInTwoDecoders(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	limits := defaults(t)
	for file, body := range captured(t) {
		whole := len(strings.TrimRight(string(body), "\r\n"))
		for n := range whole {
			if _, fault := decodeCall(body[:n], "", limits); fault == nil ||
				fault.Code != NotWellFormed {
				t.Fatalf("%s cut to %d bytes: %v", file, n, fault)
			}
		}
		damaged := slices.Clone(body)
		for i := range damaged {
			for bit := range 8 {
				damaged[i] ^= 1 << bit
				if _, fault := decodeCall(damaged, "", limits); fault == nil {
					text, fault := toUTF8(damaged, "")
					if fault != nil {
						t.Fatalf("%q is decoded, and is in no encoding: %v", damaged, fault)
					}
					compareDecoders(t, text)
				}
				damaged[i] ^= 1 << bit
			}
		}
	}
}

// enveloped is the body of a call of m with one value, given as XML.
func enveloped(value string) string {
	return "<methodCall><methodName>m</methodName><params><param>" + value +
		"</param></params></methodCall>"
}

const exNamespace = ` xmlns:ex="` + extensions + `"`

func TestValuesKeepTheirText(t *testing.T) {
	v := func(k Kind, text string) Value { return Value{Kind: k, Text: text} }
	for in, want := range map[string]Value{
		`<value><int>100</int></value>`:                              v(Int, "100"),
		`<value><i4>-2147483648</i4></value>`:                        v(Int, "-2147483648"),
		`<value><int>+007</int></value>`:                             v(Int, "+007"),
		"<value>\n\t<int> 5\r\n</int> </value>":                      v(Int, "5"),
		`<value><i8>9007199254740991</i8></value>`:                   v(Int, "9007199254740991"),
		`<value><boolean>1</boolean></value>`:                        v(Boolean, "1"),
		`<value><boolean> 0 </boolean></value>`:                      v(Boolean, "0"),
		`<value><double>-25.50</double></value>`:                     v(Double, "-25.50"),
		`<value><double>.5</double></value>`:                         v(Double, ".5"),
		`<value><double>5.</double></value>`:                         v(Double, "5."),
		`<value><double>1e+06</double></value>`:                      v(Double, "1e+06"),
		`<value><double>7</double></value>`:                          v(Double, "7"),
		`<value><nil/></value>`:                                      {},
		`<value><nil></nil></value>`:                                 {},
		`<value><string> a b </string></value>`:                      v(String, " a b "),
		`<value><string/></value>`:                                   v(String, ""),
		`<value>untyped</value>`:                                     v(String, "untyped"),
		`<value> </value>`:                                           v(String, " "),
		`<value></value>`:                                            v(String, ""),
		`<value/>`:                                                   v(String, ""),
		`<value>a<!-- no, - not this -->b</value>`:                   v(String, "ab"),
		`<value><![CDATA[<int>&amp;]]]]><![CDATA[>]]></value>`:       v(String, "<int>&amp;]]>"),
		`<value>x&#x41;&#66;&lt;&gt;&amp;&quot;&apos;</value>`:       v(String, `xAB<>&"'`),
		"<value>a\r\nb\rc&#13;d</value>":                             v(String, "a\nb\nc\rd"),
		"<value><![CDATA[a\r\nb\r]]></value>":                        v(String, "a\nb\n"),
		`<value>ångström 日本 😀</value>`:                               v(String, "ångström 日本 😀"),
		`<value><base64> YWJj ZGU= </base64></value>`:                v(Base64, "abcde"),
		"<value><base64>AP8=\n</base64></value>":                     v(Base64, "\x00\xff"),
		`<value><base64/></value>`:                                   v(Base64, ""),
		`<value><array><data/></array></value>`:                      v(Array, ""),
		`<value><struct/></value>`:                                   v(Struct, ""),
		`<value><ex:nil` + exNamespace + `/></value>`:                {},
		`<value` + exNamespace + `><ex:i1>-128</ex:i1></value>`:      v(Int, "-128"),
		`<value` + exNamespace + `><ex:i2>32767</ex:i2></value>`:     v(Int, "32767"),
		`<value` + exNamespace + `><ex:i8>1</ex:i8></value>`:         v(Int, "1"),
		`<value` + exNamespace + `><ex:float>1.5</ex:float></value>`: v(Double, "1.5"),
		`<value><nil xmlns="` + extensions + `"/></value>`:           {},
		`<value xmlns:e='` + extensions +
			`'><e:biginteger>99999999999999999999</e:biginteger></value>`: v(Int,
			"99999999999999999999"),
		`<value xmlns:e='` + extensions +
			`'><e:bigdecimal>0.10</e:bigdecimal></value>`: v(Double, "0.10"),
		`<value><array><data><value><int>1</int></value><value>b</value></data></array></value>`: ArrayValue(IntValue(1), StringValue("b")),
		`<value><struct><member><name> k </name><value>v</value></member><member><name/><value/></member></struct></value>`: StructValue(
			Member{" k ", StringValue("v")}, Member{"", StringValue("")}),
	} {
		got, fault := decodeCall([]byte(enveloped(in)), "", defaults(t))
		if fault != nil {
			t.Errorf("%s: %v", in, fault)
			continue
		}
		if diff := cmp.Diff([]Value{want}, got.args); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

func TestDateTimeIsAnISO8601TimeThatExists(t *testing.T) {
	for text, want := range map[string]bool{
		"19980717T14:08:55":         true,
		"1998-07-17T14:08:55":       true,
		"19980717T14:08:55Z":        true,
		"19980717T14:08:55+0200":    true,
		"1998-07-17T14:08:55-02:00": true,
		"1998-07-17T14:08:55.123Z":  true,
		"20240229T00:00:00":         true,
		"20230229T00:00:00":         false,
		"19980717T24:08:55":         false,
		"19980717":                  false,
		"":                          false,
		"19980717T14:08:55." + strings.Repeat("0", 64): false,
	} {
		c, fault := decodeCall([]byte(enveloped("<value><dateTime.iso8601>"+text+
			"</dateTime.iso8601></value>")), "", defaults(t))
		if (fault == nil) != want {
			t.Errorf("%s: %v, want ok = %v", text, fault, want)
		} else if want && !cmp.Equal(c.args, []Value{{Kind: DateTime, Text: text}}) {
			t.Errorf("%s became %v", text, c.args)
		}
	}
}

func TestEquivalentFormsAreOneCall(t *testing.T) {
	want := call{method: "a.b:c/d_1"}
	for _, in := range []string{
		"<methodCall><methodName>a.b:c/d_1</methodName></methodCall>",
		"<methodCall><methodName>a.b:c/d_1</methodName><params/></methodCall>",
		"<methodCall><methodName>\n a.b:c/d_1 </methodName><params> </params></methodCall >\n",
		"<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<!-- a --><methodCall><!-- b " +
			"--><methodName>a.b:c/d_1</methodName></methodCall><!-- c -->",
		"\n<methodCall\txmlns:other='urn:x'><methodName xmlns=''>a.b<!-- " +
			"-->:c/d_1</methodName></methodCall>",
	} {
		got, fault := decodeCall([]byte(in), "", defaults(t))
		if fault != nil {
			t.Errorf("%s: %v", in, fault)
		} else if !cmp.Equal(want, got, cmp.AllowUnexported(call{})) {
			t.Errorf("%s became %v", in, got)
		}
	}
}
