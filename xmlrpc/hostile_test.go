package xmlrpc

import (
	"fmt"
	"strings"
	"testing"
)

// hostile has bodies that must be refused, with their faults.
func hostile() map[string]struct {
	body string
	code int
} {
	type refusal = struct {
		body string
		code int
	}
	value := func(v string) string { return enveloped("<value>" + v + "</value>") }
	many := func(s string, n int) string { return strings.Repeat(s, n) }
	return map[string]refusal{
		"nothing":             {"", NotWellFormed},
		"white space":         {" \n", NotWellFormed},
		"a NUL":               {"\x00", NotWellFormed},
		"NUL in text":         {value("a\x00b"), NotWellFormed},
		"NUL in a name":       {"<method\x00Call/>", NotWellFormed},
		"NUL by reference":    {value("&#0;"), NotWellFormed},
		"surrogate reference": {value("&#xd800;"), NotWellFormed},
		"huge reference":      {value("&#x" + many("f", 1000) + ";"), NotWellFormed},
		"control character":   {value("\x1b[2J"), NotWellFormed},
		"U+FFFF":              {value("\uffff"), NotWellFormed},
		"no UTF-8":            {value("\xff"), UnknownEncoding},
		"overlong UTF-8":      {value("\xc0\xbc"), UnknownEncoding},
		"encoded surrogate":   {value("\xed\xa0\x80"), UnknownEncoding},
		"JSON":                {`{"method":"m"}`, NotWellFormed},
		"gzip":                {"\x1f\x8b\x08\x00\x00\x00\x00\x00", NotWellFormed},

		"DOCTYPE":          {"<!DOCTYPE methodCall>" + enveloped("<value/>"), InvalidRequest},
		"entity expansion": {`<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>` + value("&b;"), InvalidRequest},
		"external entity": {`<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>` +
			value("&e;"), InvalidRequest},
		"late DOCTYPE":     {enveloped("<value/>") + "<!DOCTYPE methodCall>", InvalidRequest},
		"undefined entity": {value("&nbsp;"), NotWellFormed},
		"bare ampersand":   {value("a & b"), NotWellFormed},
		"no reference":     {value("&;"), NotWellFormed},
		"no digits":        {value("&#;&#x;"), NotWellFormed},

		"processing instruction": {`<?php system("id") ?>` + enveloped("<value/>"), InvalidRequest},
		"second declaration": {`<?xml version="1.0"?><?xml version="1.0"?>` +
			enveloped("<value/>"), InvalidRequest},
		"late declaration": {
			` <?xml version="1.0"?>` + enveloped("<value/>"),
			InvalidRequest,
		},
		"XML 1.1":                {`<?xml version="1.1"?>` + enveloped("<value/>"), NotWellFormed},
		"declaration unfinished": {`<?xml version="1.0"`, NotWellFormed},
		"declaration reordered": {
			`<?xml encoding="UTF-8" version="1.0"?>` + enveloped("<value/>"),
			NotWellFormed,
		},
		"declaration extended": {
			`<?xml version="1.0" lang="en"?>` + enveloped("<value/>"),
			NotWellFormed,
		},

		"deep nesting": {value(many("<array><data><value>", 116_667)), InvalidRequest},
		"deep foreign": {many("<a>", 350_000), InvalidRequest},
		"many elements": {value("<array><data>" + many("<value/>", 180_000) +
			"</data></array>"), InvalidRequest},
		"many attributes": {"<methodCall " + many("a='' ", 1_000_000) + "/>", InvalidRequest},
		"many namespaces": {
			"<methodCall" + numbered(" xmlns:n%d='urn:x'", 10_000) + "/>",
			InvalidRequest,
		},
		"long string":      {value(many("x", 64<<10+1)), InvalidRequest},
		"long CDATA":       {value("<![CDATA[" + many("x", 64<<10+1) + "]]>"), InvalidRequest},
		"string in pieces": {value(many("x<!---->", 64<<10+1)), InvalidRequest},
		"long method name": {"<methodCall><methodName>" + many("m", 256) +
			"</methodName></methodCall>", InvalidRequest},
		"long element name": {"<" + many("m", 100_000) + "/>", InvalidRequest},

		"attribute":            {`<methodCall a="b"/>`, InvalidRequest},
		"xml:lang":             {`<methodCall xml:lang="en"/>`, InvalidRequest},
		"namespace twice":      {`<methodCall xmlns:a="urn:a" xmlns:a="urn:b"/>`, NotWellFormed},
		"attribute, no quotes": {`<methodCall xmlns=urn:x/>`, NotWellFormed},
		"attribute, no value":  {`<methodCall xmlns/>`, NotWellFormed},
		"attribute, no space":  {`<methodCall xmlns:a="urn:a"xmlns:b="urn:b"/>`, NotWellFormed},
		"attribute with <":     {`<methodCall xmlns:a="<"/>`, NotWellFormed},
		"attribute unfinished": {`<methodCall xmlns:a="urn`, NotWellFormed},
		"attribute on end tag": {
			"<methodCall><methodName>m</methodName></methodCall a='b'>",
			NotWellFormed,
		},
		"undeclared prefix":   {value("<ex:nil/>"), NotWellFormed},
		"prefix without name": {value("<ex:" + exNamespace + "/>"), NotWellFormed},
		"two colons":          {value("<ex:a:b" + exNamespace + "/>"), NotWellFormed},
		"prefix undeclared":   {value("<nil xmlns:ex=''/>"), NotWellFormed},
		"prefix xml taken":    {`<methodCall xmlns:xml="urn:x"/>`, NotWellFormed},
		"prefix out of scope": {
			"<methodCall><methodName" + exNamespace +
				">m</methodName><params><param><value><ex:nil/></value></param></params></methodCall>",
			NotWellFormed,
		},
		"foreign namespace": {strings.Replace(enveloped("<value/>"), "<methodCall>",
			"<methodCall xmlns='urn:soap'>", 1), InvalidRequest},
		"foreign prefix":        {value("<x:int xmlns:x='urn:x'>1</x:int>"), InvalidRequest},
		"extension spelt plain": {value("<i1>1</i1>"), InvalidRequest},
		"plain spelt extension": {value("<ex:int" + exNamespace + ">1</ex:int>"), InvalidRequest},

		"two roots":          {enveloped("<value/>") + enveloped("<value/>"), NotWellFormed},
		"trailing text":      {enveloped("<value/>") + "x", NotWellFormed},
		"trailing end tag":   {enveloped("<value/>") + "</methodCall>", NotWellFormed},
		"trailing reference": {enveloped("<value/>") + "&#32;", NotWellFormed},
		"leading text":       {"x" + enveloped("<value/>"), NotWellFormed},
		"leading CDATA":      {"<![CDATA[]]>" + enveloped("<value/>"), NotWellFormed},
		"tags crossed": {
			"<methodCall><methodName>m</methodCall></methodName>",
			NotWellFormed,
		},
		"end tag, prefix":    {"<methodCall><methodName>m</methodNam></methodCall>", NotWellFormed},
		"]]> in text":        {value("]]>"), NotWellFormed},
		"-- in a comment":    {"<!-- a -- b -->" + enveloped("<value/>"), NotWellFormed},
		"--- ends a comment": {"<!-- a --->" + enveloped("<value/>"), NotWellFormed},
		"open comment":       {"<!-- a", NotWellFormed},
		"open CDATA":         {"<methodCall><![CDATA[", NotWellFormed},
		"name with a digit":  {"<1/>", NotWellFormed},
		"only <":             {"<", NotWellFormed},
		"slash in a tag":     {"<methodCall/ >", NotWellFormed},

		"other root":        {"<methodResponse/>", InvalidRequest},
		"no method name":    {"<methodCall/>", InvalidRequest},
		"empty method name": {"<methodCall><methodName/></methodCall>", InvalidRequest},
		"method name with !": {
			"<methodCall><methodName>a!</methodName></methodCall>",
			InvalidRequest,
		},
		"method name not ASCII": {
			"<methodCall><methodName>é</methodName></methodCall>",
			InvalidRequest,
		},
		"two method names": {"<methodCall><methodName>a</methodName><methodName>b</methodName></methodCall>", InvalidRequest},
		"params first": {
			"<methodCall><params/><methodName>a</methodName></methodCall>",
			InvalidRequest,
		},
		"params twice":          {"<methodCall><methodName>a</methodName><params/><params/></methodCall>", InvalidRequest},
		"text in params":        {"<methodCall><methodName>a</methodName><params>1</params></methodCall>", InvalidRequest},
		"value in params":       {"<methodCall><methodName>a</methodName><params><value/></params></methodCall>", InvalidRequest},
		"param without value":   {enveloped(""), InvalidRequest},
		"param with two values": {enveloped("<value/><value/>"), InvalidRequest},
		"text beside a type":    {value("x<int>1</int>"), InvalidRequest},
		"text after a type":     {value("<int>1</int>x"), InvalidRequest},
		"two types":             {value("<int>1</int><int>1</int>"), InvalidRequest},
		"element in a scalar":   {value("<string><b/></string>"), InvalidRequest},
		"upper case":            {value("<INT>1</INT>"), InvalidRequest},
		"value in value":        {value("<value/>"), InvalidRequest},
		"array without data":    {value("<array/>"), InvalidRequest},
		"array with two data":   {value("<array><data/><data/></array>"), InvalidRequest},
		"int in data": {
			value("<array><data><int>1</int></data></array>"),
			InvalidRequest,
		},
		"member without value": {
			value("<struct><member><name>a</name></member></struct>"),
			InvalidRequest,
		},
		"member, value first": {
			value("<struct><member><value/><name>a</name></member></struct>"),
			InvalidRequest,
		},
		"value in struct": {value("<struct><value/></struct>"), InvalidRequest},
		"member twice": {value("<struct>" + many("<member><name>a</name><value/></member>",
			2) + "</struct>"), InvalidRequest},
		"member twice of many": {value("<struct>" +
			numbered("<member><name>%d</name><value/></member>", 100) +
			"<member><name>&#53;0</name><value/></member></struct>"), InvalidRequest},

		"int empty":           {value("<int/>"), InvalidRequest},
		"int of 65 bits":      {value("<int>9223372036854775808</int>"), InvalidRequest},
		"i1 of 9 bits":        {value("<ex:i1" + exNamespace + ">128</ex:i1>"), InvalidRequest},
		"i8 of 65 bits":       {value("<i8>9223372036854775808</i8>"), InvalidRequest},
		"int with fraction":   {value("<int>1.0</int>"), InvalidRequest},
		"int with underscore": {value("<int>1_0</int>"), InvalidRequest},
		"int in hexadecimal":  {value("<int>0x10</int>"), InvalidRequest},
		"int of two signs":    {value("<int>+-1</int>"), InvalidRequest},
		"int, other digits":   {value("<int>١</int>"), InvalidRequest},
		"int, space inside":   {value("<int>1 0</int>"), InvalidRequest},
		"boolean true":        {value("<boolean>true</boolean>"), InvalidRequest},
		"boolean 2":           {value("<boolean>2</boolean>"), InvalidRequest},
		"double infinite":     {value("<double>infinit</double>"), InvalidRequest},
		"double of two signs": {value("<double>--inf</double>"), InvalidRequest},
		"double hexadecimal":  {value("<double>0x1p4</double>"), InvalidRequest},
		"double, comma":       {value("<double>1,5</double>"), InvalidRequest},
		"double, point alone": {value("<double>.</double>"), InvalidRequest},
		"double, exponent":    {value("<double>1e</double>"), InvalidRequest},
		"double empty":        {value("<double/>"), InvalidRequest},
		"nil with text":       {value("<nil>0</nil>"), InvalidRequest},
		"base64 cut":          {value("<base64>YWJ</base64>"), InvalidRequest},
		"base64 spare bits":   {value("<base64>YWK=</base64>"), InvalidRequest},
		"base64 foreign":      {value("<base64>YW*j</base64>"), InvalidRequest},
	}
}

// numbered repeats a format with the numbers from 0 to n-1.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestHostileBodyIsAShortFault(t *testing.T) {
	for name, tt := range hostile() {
		c, fault := decodeCall([]byte(tt.body), "", defaults(t))
		switch {
		case fault == nil:
			t.Errorf("%s: decoded to %v", name, c)
		case fault.Code != tt.code:
			t.Errorf("%s: %v, want code %d", name, fault, tt.code)
		case len(fault.Text) > 200:
			t.Errorf("%s: the text of the fault has %d bytes", name, len(fault.Text))
		}
	}
}

// TestEachLimitHoldsExactly tries the largest allowed value of each limit, and the next one.
func TestEachLimitHoldsExactly(t *testing.T) {
	many := strings.Repeat
	array := func(n int) string {
		return "<value><array><data>" + many("<value/>", n) + "</data></array></value>"
	}
	for _, tt := range []struct {
		name           string
		limits         Limits
		within, beyond string
		says           string
	}{
		{
			"depth",
			Limits{Depth: 6},
			"<value><array><data/></array></value>",
			"<value><array><data><value/></data></array></value>",
			"deeper than the limit of 6",
		},
		{"elements", Limits{Elements: 10}, array(3), array(4), "limit of 10"},
		{
			"text",
			Limits{StringBytes: 4},
			"<value>é&#233;</value>", "<value>éé&#65;</value>",
			"limit of 4 bytes",
		},
		{
			"CDATA",
			Limits{StringBytes: 4},
			"<value>a<![CDATA[bcd]]></value>",
			"<value>a<![CDATA[bcde]]></value>", "limit of 4 bytes",
		},
		{
			"name",
			Limits{StringBytes: 1},
			"<value><struct><member><name>a</name><value/></member></struct></value>",
			"<value><struct><member><name>ab</name><value/></member></struct></value>",
			"limit of 1 bytes",
		},
	} {
		limits, err := tt.limits.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		if _, fault := decodeCall([]byte(enveloped(tt.within)), "", limits); fault != nil {
			t.Errorf("%s: %v", tt.name, fault)
		}
		_, fault := decodeCall([]byte(enveloped(tt.beyond)), "", limits)
		if fault == nil || fault.Code != InvalidRequest || !strings.Contains(fault.Text, tt.says) {
			t.Errorf("%s: %v, want -32600 that says %q", tt.name, fault, tt.says)
		}
	}
	if _, err := (Limits{Depth: -1}).withDefaults(); err == nil {
		t.Error("a negative limit was accepted")
	}
}
