package xmlrpc

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"errors"
	"html"
	"html/template"
	"net/http"
	"strconv"
	"strings"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

// hostMark is the placeholder for the host in the rendered page: a character for private use,
// which no text about methods contains.
const hostMark = "\ue000"

// A page documents the methods for people. It is rendered once. Only the host by which the
// client knows the server is inserted for each request.
type page struct {
	parts  [][]byte // the host goes between them
	policy string   // its Content-Security-Policy
}

// A pageMethod is a method on the page.
type pageMethod struct {
	Name, Help, Call, Returns string
	Params                    []Param
	Examples                  []Example
}

// A Word is one that answers use, which the page explains below the anchor of its name.
type Word struct{ Name, Title, Help string }

// A Face is another protocol by which the methods are called, on the page.
type Face struct {
	// Help says how a method is called, with URL for that of the server.
	Help string

	// Examples returns calls of a method, to show before those of XML-RPC. server is the URL of the
	// server, without a path. None means that the method is not called so.
	Examples func(method, server string) []Example
}

func newPage[C any](cfg *Config[C], methods []Method[C]) (page, error) {
	const server = "https://" + hostMark
	shown := make([]pageMethod, len(methods))
	for i := range methods {
		m := &methods[i]
		shown[i] = pageMethod{
			Name: m.Name, Help: m.Help, Call: m.synopsis(), Returns: m.Returns.String(),
			Params: m.Params,
		}
		if cfg.Beside.Examples != nil {
			shown[i].Examples = cfg.Beside.Examples(m.Name, server)
		}
		shown[i].Examples = append(shown[i].Examples,
			examples(call{m.Name, m.exampleArgs()}, server+"/RPC2")...)
	}
	t, err := template.New("page").Parse(pageSource)
	if err != nil {
		return page{}, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, struct {
		Title, URL, People, Beside string
		Style                      template.CSS
		Methods                    []pageMethod
		Words                      []Word
	}{
		cfg.Title, server + "/RPC2", cfg.People, strings.ReplaceAll(cfg.Beside.Help, "URL", server),
		template.CSS(pageStyle), shown, cfg.Words,
	}); err != nil {
		return page{}, err
	}
	style, ok := between(b.Bytes(), "<style>", "</style>")
	if !ok {
		return page{}, errors.New("xmlrpc: the page has no style")
	}
	sum := sha256.Sum256(style)
	return page{
		parts: bytes.Split(b.Bytes(), []byte(hostMark)),
		policy: "default-src 'none'; img-src data:; style-src 'sha256-" +
			base64.StdEncoding.EncodeToString(sum[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, nil
}

func between(b []byte, start, end string) ([]byte, bool) {
	_, b, found := bytes.Cut(b, []byte(start))
	b, _, closed := bytes.Cut(b, []byte(end))
	return b, found && closed
}

// synopsis is the call of m with the names of its parameters.
func (m *Method[C]) synopsis() string {
	var b strings.Builder
	b.WriteString(m.Name + "(")
	for i := range m.Params {
		if m.Params[i].Optional {
			b.WriteString("[")
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m.Params[i].Name)
	}
	return b.String() + strings.Repeat("]", len(m.Params)-m.required()) + ")"
}

// ServePage answers GET and HEAD with a page that documents the methods. The page has no data
// and no script. It has an empty icon, because browsers would ask for one.
func (s *Server[C]) ServePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, POST")
		Decline(w, http.StatusMethodNotAllowed, "The page is read with GET.")
		return
	}
	if !isHost(r.Host) {
		Decline(w, http.StatusBadRequest, "The Host is no name of a host.")
		return
	}
	content := bytes.Join(s.page.parts, []byte(html.EscapeString(r.Host)))
	h := w.Header()
	Protect(h)
	h.Set("Content-Security-Policy", s.page.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method == http.MethodGet {
		w.Write(content)
	}
}

// isHost reports whether s is safe in the examples of the page, which people copy into a shell:
// a name or an address, with an optional port. A name has at most 253 characters.
func isHost(s string) bool {
	for _, c := range []byte(s) {
		word := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !word && strings.IndexByte(".-_:[]", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= 260
}
