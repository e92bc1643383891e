//go:build unix

package attack_test

import (
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/jsonapi"
	"example.com/atm/teller/methods"
)

// try sends an attack by XML-RPC, and then as JSON, from an address of its own. Both must be
// answered alike. It returns the answer by XML-RPC.
func (a *arena) try(t *testing.T, name string, by *tls.Certificate, at *attack) (int, string) {
	t.Helper()
	code, answer := a.exchange(t, a.address(name), by, at.bytes())
	twin, ok := at.asJSON()
	byXML := codesIn(answer, xmlCodes)
	if !ok || code == 413 || len(byXML) == 1 && byXML[0] == string(atm.OK) { // by right, and once
		return code, answer
	}
	status, dict := a.exchange(t, a.address(name+" as JSON"), by, twin)
	a.facesMu.Lock()
	a.asJSON++
	a.facesMu.Unlock()
	asJSON := codesIn(dict, jsonCodes)
	want := []int{code}
	switch {
	case code != 200:
	case len(byXML) != 1 || !strings.Contains(twin, "POST /v1/system.multicall"):
		want = []int{jsonapi.StatusOf(atm.Code(byXML[0]))}
		if strings.Contains(twin, "POST /v1/system.multicall") {
			want = []int{200}
		}
	}
	if len(byXML) == 1 && byXML[0] == string(atm.Fault) {
		want = []int{400, 404, 422, 200} // a fault of an item of a multicall is in its list
	}
	if !slices.Contains(want, status) || !slices.Equal(asJSON, byXML) {
		t.Errorf("%s is answered %d with %v, and as JSON %d with %v, not %v: %.700s", name, code,
			byXML, status, asJSON, want, dict)
	}
	return code, answer
}

var (
	xmlCodes = regexp.MustCompile(
		`<name>(?:code|faultCode)</name><value><(?:string|int)>([A-Z_]+|-\d+)<`)
	jsonCodes = regexp.MustCompile(`"code":"([A-Z_]+)"`)
)

// codesIn are the codes of an answer, in order. A fault is FAULT.
func codesIn(answer string, codes *regexp.Regexp) (list []string) {
	for _, found := range codes.FindAllStringSubmatch(answer, -1) {
		if strings.HasPrefix(found[1], "-") {
			found[1] = string(atm.Fault)
		}
		list = append(list, found[1])
	}
	return list
}

// asJSON is the request of an attack as JSON, if it is a call by XML-RPC that is well-formed, and
// not signed for its path.
func (at *attack) asJSON() (request string, ok bool) {
	body := at.bytes()
	_, body, _ = strings.Cut(body, "\r\n\r\n")
	if at.request != "" || at.path != "" && at.path != "/RPC2" || at.signed() {
		return "", false
	}
	method, args, ok := translated(body)
	if !ok {
		return "", false
	}
	lines := append([]string{
		"POST /v1/" + url.PathEscape(method) + " HTTP/1.1", "Host: localhost", "Connection: close",
		"Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(args)),
	}, at.header...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + args, true
}

// signed reports whether a header is good for one path, or one request, alone.
func (at *attack) signed() bool {
	return slices.ContainsFunc(at.header, func(line string) bool {
		return strings.Contains(line, "Digest") || strings.HasPrefix(line, "Content-Length")
	})
}

// A node is an element of XML.
type node struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
	Nodes   []node `xml:",any"`
}

// child is the first child of a name.
func (n *node) child(name string) *node {
	for i := range n.Nodes {
		if n.Nodes[i].XMLName.Local == name {
			return &n.Nodes[i]
		}
	}
	return &node{}
}

// translated is a call as a method and an object of arguments.
func translated(body string) (method, args string, ok bool) {
	var call node
	if xml.Unmarshal([]byte(body), &call) != nil || call.XMLName.Local != "methodCall" {
		return "", "", false
	}
	method = call.child("methodName").Text
	var values []*node
	for i := range call.child("params").Nodes {
		values = append(values, call.child("params").Nodes[i].child("value"))
	}
	if method == "system.multicall" && len(values) == 1 {
		args, ok = translatedBatch(values[0])
		return method, args, ok
	}
	return method, named(method, values), !strings.HasPrefix(method, "system.")
}

func translatedBatch(list *node) (string, bool) {
	var items []string
	for _, item := range list.child("array").child("data").Nodes {
		method, values := "", []*node{}
		for i := range item.child("struct").Nodes {
			m := &item.child("struct").Nodes[i]
			switch m.child("name").Text {
			case "methodName":
				method = text(m.child("value"))
			case "params":
				data := m.child("value").child("array").child("data")
				for j := range data.Nodes {
					values = append(values, &data.Nodes[j])
				}
			}
		}
		if method == "" || strings.HasPrefix(method, "system.") && method != "system.multicall" {
			return "", false
		}
		items = append(items, fmt.Sprintf(`{"method":%s,"params":%s}`, quoted(method),
			named(method, values)))
	}
	return `{"calls":[` + strings.Join(items, ",") + "]}", true
}

// named is an object of positional arguments.
func named(method string, values []*node) string {
	var members []string
	m := methods.Of(atm.Operation(method))
	for i, v := range values {
		name := "argument" + strconv.Itoa(i)
		if m != nil && i < len(m.Params) {
			name = m.Params[i].Name
		}
		members = append(members, quoted(name)+":"+asJSON(v))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// text is the text of a value that is a string.
func text(v *node) string {
	if len(v.Nodes) == 0 {
		return v.Text
	}
	return v.Nodes[0].Text
}

// asJSON is a value as JSON.
func asJSON(v *node) string {
	if len(v.Nodes) == 0 {
		return quoted(v.Text)
	}
	n := &v.Nodes[0]
	var parts []string
	switch n.XMLName.Local {
	case "int", "i4", "i8", "double":
		if json.Valid([]byte(n.Text)) {
			return n.Text
		}
		return quoted(n.Text)
	case "boolean":
		return strconv.FormatBool(n.Text == "1")
	case "nil":
		return "null"
	case "array":
		for i := range n.child("data").Nodes {
			parts = append(parts, asJSON(&n.child("data").Nodes[i]))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case "struct":
		for i := range n.Nodes {
			m := &n.Nodes[i]
			parts = append(parts, quoted(m.child("name").Text)+":"+asJSON(m.child("value")))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return quoted(n.Text)
}
