package jsonapi

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"example.com/atm"
)

func TestBodiesWithTwoReadingsAreRefused(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	for _, tt := range []struct{ name, body, says string }{
		{"nothing", "", "not JSON"},
		{"an array", "[]", "not an object"},
		{"a number", "1", "not an object"},
		{"null", "null", "not an object"},
		{"two of one name", `{"a":1,"a":1}`, `two members called "a"`},
		{"two of one name, one of them escaped", `{"a":1,"\u0061":1}`, `two members called "a"`},
		{"two of one name, deep inside", `{"a":[{"b":1,"b":2}]}`, `two members called "b"`},
		{"two among many", "{" + many(20) + `"n7":1}`, `"n7"`},
		{"NaN", `{"a":NaN}`, "not JSON"},
		{"Infinity", `{"a":-Infinity}`, "not JSON"},
		{"a hexadecimal number", `{"a":0x10}`, "not JSON"},
		{"a leading zero", `{"a":0100}`, "not JSON"},
		{"a leading plus", `{"a":+1}`, "not JSON"},
		{"a number of 65 bits", `{"a":9223372036854775808}`, "64 bits"},
		{"a comma too many", `{"a":1,}`, "not JSON"},
		{"a comment", `{"a":1/*2*/}`, "not JSON"},
		{"single quotation marks", `{'a':1}`, "not JSON"},
		{"bytes behind", `{"a":1}x`, "not JSON"},
		{"another object behind", `{"a":1}{}`, "not JSON"},
		{"a byte order mark", "\xef\xbb\xbf{}", "byte order mark"},
		{"UTF-16", "{\x00}\x00", "not JSON"},
		{"UTF-16 with a mark", "\xff\xfe{\x00}\x00", "not UTF-8"},
		{"a byte that is no UTF-8", "{\"a\":\"\xff\"}", "not UTF-8"},
		{"an overlong form", "{\"a\":\"\xc0\xaf\"}", "not UTF-8"},
		{"a surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "not UTF-8"},
		{"a high surrogate", `{"a":"\ud83d"}`, "surrogate"},
		{"a high surrogate before a letter", `{"a":"\ud83dx"}`, "surrogate"},
		{"a low surrogate", `{"a":"\ude00"}`, "surrogate"},
		{"two high surrogates", `{"a":"\ud83d\ud83d"}`, "surrogate"},
		{"surrogates in a name", `{"\ud83d":1}`, "surrogate"},
		{"a NUL", `{"a":"\u0000"}`, "U+0000"},
		{"an escape character", `{"a":"\u001b[2J"}`, "U+001B"},
		{"a backspace", `{"a":"\b"}`, "U+0008"},
		{"no character", `{"a":"\uffff"}`, "U+FFFF"},
		{"a NUL in a name", `{"a\u0000":1}`, "U+0000"},
		{"a NUL as a byte", "{\"a\":\"\x00\"}", "not JSON"},
		{"too deep", `{"a":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + "}", "deeper"},
		{"10,000 deep", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), "deeper"},
		{"10,001 deep", strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), "not JSON"},
		{"too many values", `{"a":[` + strings.Repeat("1,", 10_000) + "1]}", "more values"},
		{"too long a string", `{"a":"` + long + `x"}`, "longer"},
		{"too long a name", `{"` + long + `x":1}`, "longer"},
		{"too long a number", `{"a":1.` + strings.Repeat("0", 64<<10) + `}`, "longer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, no := decode([]byte(tt.body), Limits{}.withDefaults())
			if no == nil || no.status != 400 || !strings.Contains(no.text, tt.says) {
				t.Errorf("%+v, not 400 %q", no, tt.says)
			}
		})
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`"n` + string(rune('0'+i%10)) + strings.Repeat("x", i/10) + `":1,`)
	}
	return b.String()
}

func TestValuesKeepTheirText(t *testing.T) {
	v, no := decode([]byte(`{"i":9007199254740993,"m":-0,"d":12.500,"e":1e2,"z":0.1E+2,"t":true,`+
		`"f":false,"n":null,"s":"\"\\\/\n\t\u00e9\ud83d\ude00é","o":{"k":1.0,"x":{}},"l":[1,"2"]}`),
		Limits{}.withDefaults())
	if no != nil {
		t.Fatal(no)
	}
	for name, want := range map[string]atm.Arg{
		"i": {Kind: atm.Int, Text: "9007199254740993"},
		"m": {Kind: atm.Int, Text: "-0"},
		"d": {Kind: atm.Double, Text: "12.500"},
		"e": {Kind: atm.Double, Text: "1e2"},
		"z": {Kind: atm.Double, Text: "0.1E+2"},
		"t": {Kind: atm.Struct}, "f": {Kind: atm.Struct}, "l": {Kind: atm.Struct}, "n": {},
		"s": {Kind: atm.String, Text: "\"\\/\n\té😀é"},
		"o": {Kind: atm.Struct, Members: []atm.Member{
			{Name: "k", Arg: atm.Arg{Kind: atm.Double, Text: "1.0"}},
			{Name: "x", Arg: atm.Arg{Kind: atm.Struct}},
		}},
	} {
		value := v.get(name)
		if got := value.arg(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, not %+v", name, got, want)
		}
	}
}

// FuzzDecode compares what is accepted with what encoding/json makes of it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"{}", `{"account":100,"amount":"12.50"}`, `{"a":[1,2.5,-0,1e5,true,false,null,"x"]}`,
		`{"s":"\ud83d\ude00\u0041\\\"\/"}`, `{"a":{"b":{"c":[[]]}}}`, "\ufeff{}", `{"a":1,"a":2}`,
		` { "a" : [ 1 , 2 ] , "b" : { } } `, `{"a":"\ud83d"}`, "[]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sent := bytes.Clone(body)
		v, no := decode(body, Limits{}.withDefaults())
		if !bytes.Equal(body, sent) {
			t.Fatal("the body was changed")
		}
		if no != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil || d.More() {
			t.Fatalf("%q is accepted, and is not JSON: %v", body, err)
		}
		if got := plain(&v); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is %v, and to encoding/json %v", body, got, want)
		}
	})
}

// plain is a value as encoding/json has it, but for booleans, which no method takes.
func plain(v *value) any {
	switch v.kind {
	case integer, decimal:
		return json.Number(v.text)
	case text:
		return v.text
	case object:
		o := make(map[string]any)
		for i := range v.members {
			o[v.members[i].name] = plain(&v.members[i].value)
		}
		return o
	case array:
		list := make([]any, len(v.items))
		for i := range list {
			list[i] = plain(&v.items[i])
		}
		return list
	case boolean:
		return v.text == "true"
	}
	return nil
}
