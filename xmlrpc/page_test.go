package xmlrpc

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"go/format"
	"html"
	"io"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"example.com/atm/internal/needs"
)

func getPage(t *testing.T, s *Server[*caller], method, host string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, "/", nil)
	r.Host = host
	w := httptest.NewRecorder()
	s.ServePage(w, r)
	return w
}

func TestPageEscapesItsTextAndAllowsNoScript(t *testing.T) {
	s := newTestServer(t, nil, Config[*caller]{Title: "A <bank>"})
	w := getPage(t, s, "GET", "bank.example:9000")
	body, h := w.Body.String(), w.Header()
	if w.Code != 200 || h.Get("Content-Type") != "text/html; charset=utf-8" ||
		h.Get("Content-Length") != fmt.Sprint(len(body)) ||
		h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v", w.Code, h)
	}
	style, ok := between([]byte(body), "<style>", "</style>")
	if !ok {
		t.Fatal("no style")
	}
	sum := sha256.Sum256(style)
	want := "default-src 'none'; img-src data:; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := h.Get("Content-Security-Policy"); got != want {
		t.Errorf("policy %s\nwant   %s", got, want)
	}
	for _, part := range []string{
		"<h1>A &lt;bank&gt;</h1>", "https://bank.example:9000/RPC2",
		"deposit(account, amount[, pin[, request_id]]) → struct",
		"system.multicall", "prefers-color-scheme: dark", "width=device-width",
		"Puts money into an account.", "string, int or double",
	} {
		if !strings.Contains(body, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	// The policy forbids both, so they would not work.
	if bad := regexp.MustCompile(`(?i)<script|\son[a-z]+=|\sstyle=|<img|<link rel="[^i]|` +
		hostMark).FindString(body); bad != "" {
		t.Errorf("the page has %q", bad)
	}
	checkNesting(t, body)

	head := getPage(t, s, "HEAD", "bank.example:9000")
	if head.Code != 200 || head.Body.Len() != 0 ||
		head.Header().Get("Content-Length") != h.Get("Content-Length") {
		t.Errorf("HEAD: %d %v", head.Code, head.Header())
	}
	if w := getPage(t, s, "DELETE", "a"); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("DELETE: %d %v", w.Code, w.Header())
	}
}

// checkNesting makes sure that every open tag is closed.
func checkNesting(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.AutoClose = []string{"meta"}
	d.Strict = false
	d.Entity = xml.HTMLEntity
	depth := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
	}
	if depth != 0 {
		t.Errorf("%d elements are not closed", depth)
	}
}

func TestPageNamesOnlyAWellFormedHost(t *testing.T) {
	s := newTestServer(t, nil, Config[*caller]{})
	for host, want := range map[string]int{
		"localhost:9000":         200,
		"[::1]:9000":             200,
		"10.0.0.1":               200,
		"":                       400,
		"a'; rm -rf ~ #":         400,
		"<script>":               400,
		"$(id)":                  400,
		"a/b":                    400,
		"é.example":              400,
		strings.Repeat("a", 261): 400,
	} {
		if w := getPage(t, s, "GET", host); w.Code != want {
			t.Errorf("%q: %d, want %d", host, w.Code, want)
		} else if want == 200 && !strings.Contains(w.Body.String(), "https://"+host+"/RPC2") {
			t.Errorf("%q is not in the page", host)
		}
	}
}

// pageExamples returns the examples of a method as a reader copies them.
func pageExamples(t *testing.T, page, method string) map[string]string {
	t.Helper()
	_, section, ok := strings.Cut(page, `<section id="`+method+`">`)
	section, _, _ = strings.Cut(section, "</section>")
	if !ok {
		t.Fatalf("no section %s", method)
	}
	found := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?s)<summary>(.*?)</summary>\n<pre tabindex="0"><code>(.*?)</code>`).FindAllStringSubmatch(section, -1) {
		found[m[1]] = html.UnescapeString(m[2])
	}
	return found
}

func TestEveryMethodHasAnExampleInEachLanguage(t *testing.T) {
	s := newTestServer(t, nil, Config[*caller]{})
	page := getPage(t, s, "GET", "localhost:9000").Body.String()
	for _, name := range s.names {
		examples := pageExamples(t, page, name)
		for language, part := range map[string]string{
			"curl": "--data-binary '", "Python": "server." + name + "(", "Ruby": "server.call(\"" +
				name + "\"",
			"PHP": "xmlrpc_encode_request('" + name + "', [", "Go": "server.Call(\"" + name +
				"\", []any{",
		} {
			if !strings.Contains(examples[language], part) {
				t.Errorf("%s in %s lacks %q:\n%s", name, language, part, examples[language])
			}
		}
		if formatted, err := format.Source([]byte(examples["Go"] + "\n")); err != nil ||
			string(formatted) != examples["Go"]+"\n" {
			t.Errorf("%s in Go is not formatted: %v\n%s", name, err, examples["Go"])
		}
		_, body, _ := strings.Cut(examples["curl"], "--data-binary '")
		body, _, _ = strings.Cut(body, "'")
		c, fault := decodeCall([]byte(body), "", defaults(t))
		if fault != nil || c.method != name {
			t.Errorf("%s in curl: %v, %v", name, c, fault)
		} else if _, fault := s.methods[name].arguments(c.args); fault != nil {
			t.Errorf("%s in curl: %v", name, fault)
		}
	}
	if got := pageExamples(t, page, "deposit"); !strings.Contains(got["Python"],
		`server.deposit(100, "12.50")`) ||
		!strings.Contains(got["Ruby"], `server.call("deposit", 100, '12.50')`) {
		t.Errorf("deposit: %v", got)
	}
	if got := pageExamples(t, page, "whoami"); !strings.Contains(got["Ruby"],
		`server.call("whoami")`) {
		t.Errorf("whoami: %v", got)
	}
}

// TestExamplesInPythonMeanTheirArguments has Python parse its examples, which have every kind
// of argument.
func TestExamplesInPythonMeanTheirArguments(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	needs.Program(t, "python3")
	args := []Value{
		{},
		IntValue(-1), BoolValue(true), BoolValue(false), DoubleValue(1.5),
		StringValue("é\"'\\\n$x#{y}"), ArrayValue(),
		ArrayValue(IntValue(1), StructValue(Member{"a'", ArrayValue()}, Member{"b", Value{}})),
	}
	for _, e := range examples(call{"m", args}, "https://localhost/RPC2") {
		if e.Language != "Python" {
			continue
		}
		command := exec.Command("python3", "-c", `
import ast, sys
call = [n for n in ast.walk(ast.parse(sys.stdin.read())) if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "m"][0]
assert [ast.literal_eval(a) for a in call.args] == [None, -1, True, False, 1.5, "é\"'\\\n$x#{y}", [], [1, {"a'": [], "b": None}]], ast.dump(call)`)
		command.Stdin = strings.NewReader(e.Code)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%v: %s\n%s", err, out, e.Code)
		}
		return
	}
	t.Error("no example in Python")
}

func TestArgumentWithoutALiteralHasAnExampleInCurlAlone(t *testing.T) {
	got := examples(call{"m", []Value{ArrayValue(Base64Value([]byte("x")))}},
		"https://localhost/RPC2")
	if len(got) != 1 || got[0].Language != "curl" || !strings.Contains(got[0].Code,
		"<base64>eA==</base64>") {
		t.Errorf("%v", got)
	}
	if got, want := singleQuoted(`a'b\`), `'a\'b\\'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := shellQuoted(`it's`), `'it'\''s'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
