package xmlrpc

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"testing"

	kolo "github.com/kolo/xmlrpc"
)

// Each benchmark runs beside the codec of github.com/kolo/xmlrpc with the same values, and
// beside encoding/xml.

const depositBody = `<?xml version="1.0"?><methodCall><methodName>deposit</methodName><params>` +
	`<param><value><int>100</int></value></param><param><value><double>25.5</double></value></param></params></methodCall>`

// depositAnswer has the values of depositBody in the only form in which kolo decodes more than
// one value: an array in a response.
const depositAnswer = `<?xml version="1.0"?><methodResponse><params><param><value><array><data>` +
	`<value><int>100</int></value><value><double>25.5</double></value></data></array></value></param></params></methodResponse>`

func multicallBody() []byte {
	calls := make([]Value, 100)
	for i := range calls {
		calls[i] = packed(call{"deposit", []Value{
			IntValue(int64(100 + i)), StringValue("12.50"),
			StringValue("0197e400-e29b-71d4-8716-446655440000"),
		}})
	}
	return appendCall(nil, call{multicallMethod, []Value{ArrayValue(calls...)}})
}

func benchDecode(b *testing.B, body []byte) {
	limits, err := Limits{}.withDefaults()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, fault := decodeCall(body, "", limits); fault != nil {
			b.Fatal(fault)
		}
	}
}

func benchKoloDecode(b *testing.B, body []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		var values []any
		if err := kolo.Response(body).Unmarshal(&values); err != nil {
			b.Fatal(err)
		}
	}
}

// An xmlCall is a call in the form that encoding/xml unmarshals.
type xmlCall struct {
	Name   string     `xml:"methodName"`
	Params []xmlValue `xml:"params>param>value"`
}

type xmlValue struct {
	Int    *string `xml:"int"`
	Double *string `xml:"double"`
	String *string `xml:"string"`
	Array  *struct {
		Values []xmlValue `xml:"data>value"`
	} `xml:"array"`
	Struct *struct {
		Members []struct {
			Name  string   `xml:"name"`
			Value xmlValue `xml:"value"`
		} `xml:"member"`
	} `xml:"struct"`
}

func benchXMLDecode(b *testing.B, body []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		var c xmlCall
		if err := xml.Unmarshal(body, &c); err != nil {
			b.Fatal(err)
		}
	}
}

// benchGuardedDecode decodes with the token loop of encoding/xml and the checks that it needs.
// The differential tests use the same code.
func benchGuardedDecode(b *testing.B, body []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		text, fault := toUTF8(body, "")
		if fault != nil {
			b.Fatal(fault)
		}
		if _, err := decodeByStandardLibrary(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeDeposit(b *testing.B) {
	b.Run("codec=ours", func(b *testing.B) { benchDecode(b, []byte(depositBody)) })
	b.Run("codec=kolo", func(b *testing.B) { benchKoloDecode(b, []byte(depositAnswer)) })
	b.Run("codec=encoding-xml", func(b *testing.B) { benchXMLDecode(b, []byte(depositBody)) })
	b.Run("codec=guarded", func(b *testing.B) { benchGuardedDecode(b, []byte(depositBody)) })
}

func BenchmarkDecodeMulticall100(b *testing.B) {
	body := multicallBody()
	answer := bytes.Replace(body, []byte("<methodCall><methodName>system.multicall</methodName>"),
		[]byte("<methodResponse>"), 1)
	answer = bytes.Replace(answer, []byte("</methodCall>"), []byte("</methodResponse>"), 1)
	b.Run("codec=ours", func(b *testing.B) { benchDecode(b, body) })
	b.Run("codec=kolo", func(b *testing.B) { benchKoloDecode(b, answer) })
	b.Run("codec=encoding-xml", func(b *testing.B) { benchXMLDecode(b, body) })
	b.Run("codec=guarded", func(b *testing.B) { benchGuardedDecode(b, body) })
}

// statusFields are the members of an answer to a deposit.
var statusFields = [...][2]string{
	{"status", "OK"},
	{"reason", ""},
	{"result", "2001.00"},
	{"code", "OK"},
	{"receipt", "12345 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
}

func BenchmarkEncodeStatus(b *testing.B) {
	b.Run("codec=ours", func(b *testing.B) {
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			members := make([]Member, len(statusFields))
			for i, f := range statusFields {
				members[i] = Member{f[0], StringValue(f[1])}
			}
			buf = appendResponse(buf[:0], StructValue(members...))
		}
	})
	// In kolo, a call with one argument is the closest to an answer.
	b.Run("codec=kolo", func(b *testing.B) {
		type status struct {
			Status  string `xmlrpc:"status"`
			Reason  string `xmlrpc:"reason"`
			Result  string `xmlrpc:"result"`
			Code    string `xmlrpc:"code"`
			Receipt string `xmlrpc:"receipt"`
		}
		f := statusFields
		b.ReportAllocs()
		for b.Loop() {
			if _, err := kolo.EncodeMethodCall("m", status{
				f[0][1], f[1][1], f[2][1], f[3][1],
				f[4][1],
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("codec=encoding-xml", func(b *testing.B) {
		type member struct {
			Name  string `xml:"name"`
			Value string `xml:"value>string"`
		}
		type response struct {
			XMLName xml.Name `xml:"methodResponse"`
			Members []member `xml:"params>param>value>struct>member"`
		}
		b.ReportAllocs()
		for b.Loop() {
			r := response{Members: make([]member, len(statusFields))}
			for i, f := range statusFields {
				r.Members[i] = member{f[0], f[1]}
			}
			if _, err := xml.Marshal(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDecodeWorst decodes bodies that use up the limits.
func BenchmarkDecodeWorst(b *testing.B) {
	for name, body := range worstBodies() {
		b.Run(name, func(b *testing.B) {
			limits, err := Limits{}.withDefaults()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				decodeCall(body, "", limits)
			}
		})
	}
}

// worstBodies returns bodies of nearly the largest size, each the most expensive of its kind.
func worstBodies() map[string][]byte {
	const size = 256 << 10
	envelope := func(content string) []byte {
		return []byte("<methodCall><methodName>m</methodName><params><param><value>" + content +
			"</value></param></params></methodCall>")
	}
	fill := func(unit string) string {
		return string(bytes.Repeat([]byte(unit), (size-200)/len(unit)))
	}
	var members bytes.Buffer
	for i := range 3_300 {
		fmt.Fprintf(&members, "<member><name>%d</name><value>1</value></member>", i)
	}
	var strings bytes.Buffer
	for range 3 {
		fmt.Fprintf(&strings, "<value>%s</value>", bytes.Repeat([]byte("x"), 64<<10))
	}
	return map[string][]byte{
		"values": envelope("<array><data>" + string(bytes.Repeat([]byte("<value/>"), 9_990)) +
			"</data></array>"),
		"members":    envelope("<struct>" + members.String() + "</struct>"),
		"strings":    envelope("<array><data>" + strings.String() + "</data></array>"),
		"references": envelope(fill("&#x41;")),
		"comments":   envelope(fill("<!---->")),
		"lines":      envelope(fill("\r")),
		"nesting":    envelope(fill("<array><data><value>")),
		"latin1": append([]byte(`<?xml version="1.0" encoding="ISO-8859-1"?>`),
			envelope(fill("\xe9"))...),
	}
}
