package xmlrpc

import (
	"strconv"
	"strings"
)

// An Example is a program that makes one call, for users to copy.
type Example struct{ Language, Code string }

// exampleArgs are the arguments of m's example: the declared ones, or a value of the
// recommended kind for each required parameter.
func (m *Method[C]) exampleArgs() []Value {
	if m.Example != nil {
		return m.Example
	}
	args := make([]Value, m.required())
	for i := range args {
		args[i] = exampleValues[m.Params[i].Kinds[0]]
	}
	return args
}

var exampleValues = [...]Value{
	Int: IntValue(1), Boolean: BoolValue(true), String: StringValue("text"),
	Double:   DoubleValue(1.5),
	DateTime: {Kind: DateTime, Text: "20060102T15:04:05"}, Base64: Base64Value([]byte("bytes")),
	Array: ArrayValue(), Struct: StructValue(),
}

// examples writes c in the languages of the page. A value for which a language needs a library,
// a date or bytes, has an example in curl only.
func examples(c call, url string) []Example {
	xml := string(appendCall(nil, c))
	all := []Example{{"curl", strings.NewReplacer("URL", url, "XML",
		shellQuoted(xml)).Replace(curlProgram)}}
	for _, l := range languages {
		literals := make([]string, len(c.args))
		complete := true
		for i, arg := range c.args {
			var ok bool
			literals[i], ok = l.literal(arg)
			complete = complete && ok
		}
		if !complete {
			continue
		}
		args := strings.Join(literals, ", ")
		comma := ""
		if args != "" {
			comma = ", "
		}
		all = append(all, Example{l.name, strings.NewReplacer(
			"URL", url, "METHOD", c.method, ",ARGS", comma+args, "ARGS", args,
		).Replace(l.program)})
	}
	return all
}

// A language is the syntax of a call and its arguments. URL, METHOD and ARGS in its program are
// replaced by those of the call; ",ARGS" by nothing if there are no arguments.
type language struct {
	name, program    string
	null, yes, no    string
	list, dictionary [2]string // the enclosing brackets
	pair             string    // between a name and its value
	quoted           func(string) string
}

// literal writes v, if the language has a literal for it.
func (l *language) literal(v Value) (string, bool) {
	switch v.Kind {
	case Nil:
		return l.null, true
	case Int, Double:
		return v.Text, true
	case Boolean:
		if v.Text == "1" {
			return l.yes, true
		}
		return l.no, true
	case String:
		return l.quoted(v.Text), true
	case Array:
		items := make([]string, len(v.Items))
		for i := range items {
			var ok bool
			if items[i], ok = l.literal(v.Items[i]); !ok {
				return "", false
			}
		}
		return l.list[0] + strings.Join(items, ", ") + l.list[1], true
	case Struct:
		members := make([]string, len(v.Members))
		for i, m := range v.Members {
			value, ok := l.literal(m.Value)
			if !ok {
				return "", false
			}
			members[i] = l.quoted(m.Name) + l.pair + value
		}
		return l.dictionary[0] + strings.Join(members, ", ") + l.dictionary[1], true
	}
	return "", false
}

// singleQuoted quotes s such that only \ and ' are special. In double quotes, Ruby and PHP
// would evaluate expressions.
func singleQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func shellQuoted(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

const curlProgram = `curl --cacert ca.crt --cert client.crt --key client.key \
  --header 'Content-Type: text/xml' \
  --data-binary XML \
  URL`

var languages = []language{
	{
		name: "Python", null: "None", yes: "True", no: "False",
		list: [2]string{"[", "]"}, dictionary: [2]string{"{", "}"}, pair: ": ",
		quoted: strconv.Quote,
		program: `import ssl
import xmlrpc.client

tls = ssl.create_default_context(cafile="ca.crt")
tls.load_cert_chain("client.crt", "client.key")
with xmlrpc.client.ServerProxy("URL", context=tls, allow_none=True) as server:
    print(server.METHOD(ARGS))`,
	},
	{
		name: "Ruby", null: "nil", yes: "true", no: "false",
		list: [2]string{"[", "]"}, dictionary: [2]string{"{", "}"}, pair: " => ",
		quoted: singleQuoted,
		program: `require "xmlrpc/client"

server = XMLRPC::Client.new2("URL")
server.http.ca_file = "ca.crt"
server.http.cert = OpenSSL::X509::Certificate.new(File.read("client.crt"))
server.http.key = OpenSSL::PKey.read(File.read("client.key"))
p server.call("METHOD",ARGS)`,
	},
	{
		name: "PHP", null: "null", yes: "true", no: "false",
		list: [2]string{"[", "]"}, dictionary: [2]string{"[", "]"}, pair: " => ",
		quoted: singleQuoted,
		program: `<?php // with the extensions curl and xmlrpc
$call = curl_init('URL');
curl_setopt_array($call, [
    CURLOPT_CAINFO => 'ca.crt',
    CURLOPT_SSLCERT => 'client.crt',
    CURLOPT_SSLKEY => 'client.key',
    CURLOPT_HTTPHEADER => ['Content-Type: text/xml'],
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_POSTFIELDS => xmlrpc_encode_request('METHOD', [ARGS]),
]);
print_r(xmlrpc_decode(curl_exec($call)));`,
	},
	{
		name: "Go", null: "nil", yes: "true", no: "false",
		list: [2]string{"[]any{", "}"}, dictionary: [2]string{"map[string]any{", "}"}, pair: ": ",
		quoted: strconv.Quote,
		program: `package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/kolo/xmlrpc"
)

func main() {
	certificate, err := tls.LoadX509KeyPair("client.crt", "client.key")
	if err != nil {
		log.Fatal(err)
	}
	authority, err := os.ReadFile("ca.crt")
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	server, err := xmlrpc.NewClient("URL", &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs:      roots,
		Certificates: []tls.Certificate{certificate},
	}})
	if err != nil {
		log.Fatal(err)
	}
	var result any
	if err := server.Call("METHOD", []any{ARGS}, &result); err != nil {
		log.Fatal(err)
	}
	fmt.Println(result)
}`,
	},
}
