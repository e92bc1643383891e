package xmlrpc

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestValueIsEncodedAsClientsCanRead(t *testing.T) {
	for want, v := range map[string]Value{
		"<value><nil/></value>":                 {},
		"<value><int>-2147483648</int></value>": IntValue(math.MinInt32),
		"<value><string>2147483648</string></value>": IntValue(math.MaxInt32 +
			1),
		"<value><string>9007199254740991</string></value>": IntValue(1<<53 - 1),
		"<value><string>no number</string></value>": {
			Kind: Int,
			Text: "no number",
		},
		"<value><boolean>1</boolean></value>":                       BoolValue(true),
		"<value><boolean>0</boolean></value>":                       BoolValue(false),
		"<value><double>0.1</double></value>":                       DoubleValue(0.1),
		"<value><double>1000000000000000000000000</double></value>": DoubleValue(1e24),
		"<value><string>NaN</string></value>":                       DoubleValue(math.NaN()),
		"<value><string>+Inf</string></value>": DoubleValue(
			math.Inf(1)),
		"<value><string></string></value>": StringValue(""),
		"<value><string>a&amp;&lt;b&gt;\"'\t\n&#13;</string></value>": StringValue(
			"a&<b>\"'\t\n\r"),
		"<value><string>é日😀</string></value>": StringValue("é日😀"),
		"<value><string>[\ufffd\ufffd\ufffd\ufffd\ufffd]</string></value>": StringValue(
			"[\x00\x1b\ufffe\xff\ufffd]"),
		"<value><base64>AP8=</base64></value>": Base64Value([]byte{
			0,
			255,
		}),
		"<value><dateTime.iso8601>20260717T12:08:55</dateTime.iso8601></value>": DateTimeValue(
			time.Date(2026, 7, 17, 14, 8, 55, 1, time.FixedZone("", 7200))),
		"<value><array><data></data></array></value>":                                             ArrayValue(),
		"<value><array><data><value><int>1</int></value></data></array></value>":                  ArrayValue(IntValue(1)),
		"<value><struct></struct></value>":                                                        StructValue(),
		"<value><struct><member><name>&lt;</name><value><nil/></value></member></struct></value>": StructValue(Member{"<", Value{}}),
	} {
		if got := string(appendValue(nil, v)); got != want {
			t.Errorf("%v:\n got %s\nwant %s", v, got, want)
		}
	}
}

func TestAnswersAndFaultsAreEncodedAsSpecified(t *testing.T) {
	const start = `<?xml version="1.0"?><methodResponse>`
	if got, want := string(appendResponse(nil, IntValue(1))),
		start+
			"<params><param><value><int>1</int></value></param></params></methodResponse>"; got != want {
		t.Errorf("response: %s", got)
	}
	if got, want := string(appendFault(nil, &Fault{MethodNotFound, "a<b"})),
		start+
			"<fault><value><struct><member><name>faultCode</name><value><int>-32601</int></value></member>"+
			"<member><name>faultString</name><value><string>a&lt;b</string></value></member></struct></value></fault></methodResponse>"; got != want {
		t.Errorf("fault: %s", got)
	}
}

// TestEncodedCallReadsBackUnchanged encodes a value of each kind and decodes it again.
func TestEncodedCallReadsBackUnchanged(t *testing.T) {
	want := call{"m", []Value{
		{},
		IntValue(-5), BoolValue(true), StringValue(" a\r\n<&>]]> "), DoubleValue(-0.25),
		Base64Value([]byte("\x00\r\n")),
		DateTimeValue(time.Unix(0, 0)), ArrayValue(ArrayValue(), StructValue()),
		StructValue(Member{"a\r", IntValue(1)}, Member{"", ArrayValue(BoolValue(false))}),
	}}
	got, fault := decodeCall(appendCall(nil, want), "", defaults(t))
	if fault != nil {
		t.Fatal(fault)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(call{})); diff != "" {
		t.Error(diff)
	}
}
