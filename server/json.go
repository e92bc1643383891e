package server

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"example.com/atm"
	"example.com/atm/jsonapi"
	"example.com/atm/teller"
	"example.com/atm/teller/methods"
	"example.com/atm/xmlrpc"
)

// jsonPrefix is what the paths of methods as JSON begin with.
const jsonPrefix = "/v1/"

// documentPath is where the OpenAPI document is, which is for everybody, as the page is.
const documentPath = jsonPrefix + "openapi.json"

// jsonFace is JSON in front of the teller, with a method for each operation.
type jsonFace struct {
	*jsonapi.Server[*session]
	*calls

	most int64  // bytes of a body
	etag string // of the document
}

func newJSON(cfg *Config, c *calls) (*jsonFace, error) {
	j := &jsonFace{calls: c, most: cfg.Limits.BodyBytes}
	if j.most == 0 {
		j.most = xmlrpc.DefaultBodyBytes
	}
	var err error
	j.Server, err = jsonapi.New(j.methods(), jsonapi.Config[*session]{
		Limits: jsonapi.Limits{
			Depth: cfg.Limits.Depth, Elements: cfg.Limits.Elements,
			StringBytes: cfg.Limits.StringBytes, Calls: cfg.Limits.Calls,
			AnswerBytes: cfg.Limits.AnswerBytes,
		},
		Faulted:   j.faulted,
		TooLarge:  j.tooLarge,
		Multicall: noKeyOnMulticall,
		Hold:      j.holdAnswer,
		Log:       cfg.Log,
		URL:       cfg.PublicURL,
	})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(j.Document())
	j.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	return j, nil
}

// methods makes a method of JSON for each operation of the teller.
func (j *jsonFace) methods() []jsonapi.Method[*session] {
	var list []jsonapi.Method[*session]
	for _, op := range methods.All() {
		m := jsonapi.Method[*session]{
			Name: string(op.Name), Help: op.Help, Structured: op.Structured,
			Result:  op.Result,
			Keyed:   op.Once || op.Position(methods.RequestID) >= 0,
			Handler: j.handler(op.Name),
		}
		if !op.HasShortAnswers() {
			m.Largest = op.AnswerBytes
		}
		for _, p := range op.Params {
			m.Params = append(m.Params, jsonapi.Param{
				Name: p.Name, Kinds: p.Kinds, Optional: p.Optional, Help: p.Help,
				Example: p.Example, Members: p.Members,
			})
		}
		list = append(list, m)
	}
	return list
}

func (j *jsonFace) handler(op atm.Operation) func(context.Context, *session,
	[]atm.Arg) jsonapi.Reply {
	return func(ctx context.Context, in *session, args []atm.Arg) jsonapi.Reply {
		reply, err := j.begin(ctx, in, teller.Call{Operation: op, Args: args, Request: in.key})
		if err == nil {
			return func() jsonapi.Answer { return jsonapi.Answer{Status: reply()} }
		}
		a := jsonapi.Answer{HTTP: http.StatusInternalServerError, Status: atm.Status{
			Code: atm.Fault, Reason: sentence(err), Result: "",
		}}
		switch {
		case in.unsigned != nil:
			a.HTTP = http.StatusUnauthorized
		case isMalformed(err):
			a.HTTP = 0 // that of the code
		}
		return func() jsonapi.Answer { a.Receipt = reply().Receipt; return a }
	}
}

// tooLarge answers a call whose answer might not fit into the answer of its multicall.
func (j *jsonFace) tooLarge(ctx context.Context, in *session, m *jsonapi.Method[*session],
	args []atm.Arg,
) jsonapi.Reply {
	reply := j.refuseLarge(ctx, in, atm.Operation(m.Name), args)
	return func() jsonapi.Answer { return jsonapi.Answer{Status: reply()} }
}

// faulted records a call whose arguments are not those of its method.
func (j *jsonFace) faulted(ctx context.Context, in *session, m *jsonapi.Method[*session],
	args []atm.Arg, fault string,
) func() string {
	recorded := j.recordFault(ctx, in, atm.Operation(m.Name), args, fault)
	return func() string { return recorded().Receipt }
}

// face is JSON on the page about the methods of XML-RPC.
func (j *jsonFace) face() xmlrpc.Face {
	return xmlrpc.Face{
		Help: "JSON over HTTPS. Send an object of named arguments with POST and Content-Type: " +
			"application/json to URL/v1/METHOD. The OpenAPI document is at URL" + documentPath + ".",
		Examples: func(method, server string) (list []xmlrpc.Example) {
			for _, e := range j.Examples(method, server) {
				list = append(list, xmlrpc.Example{Language: e.Title, Code: e.Text})
			}
			return list
		},
	}
}

// codeWords are the codes on that page, to which the type of a refusal leads.
func codeWords() (list []xmlrpc.Word) {
	for _, c := range jsonapi.Codes() {
		list = append(list, xmlrpc.Word{Name: string(c.Code), Title: c.Title, Help: c.Help})
	}
	return list
}

// serveJSON answers a call at /v1/METHOD.
func (s *Server) serveJSON(w http.ResponseWriter, r *http.Request) {
	j := s.json
	if !xmlrpc.CheckHead(w, r, "A JSON call", "POST", j.most) {
		return
	}
	if !isJSON(r) {
		xmlrpc.Decline(w, http.StatusUnsupportedMediaType, "The Content-Type of a JSON call is "+
			"application/json, in UTF-8.")
		return
	}
	// What is not read must not seem to count, above all a request id.
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		xmlrpc.Decline(w, http.StatusBadRequest, "The arguments of a JSON call are in its body, "+
			"not in its URL.")
		return
	}
	in, release := s.admit(w, r)
	if in == nil {
		return
	}
	defer release()
	var ok bool
	if in.key, ok = structuredKey(in.key); !ok {
		xmlrpc.Decline(w, http.StatusBadRequest, "The Idempotency-Key is neither text nor a "+
			"string in quotation marks (RFC 9651).")
		return
	}
	s.callJSON(w, r.WithContext(context.WithoutCancel(r.Context())), in)
}

// callJSON carries out the call in the body of r.
func (s *Server) callJSON(w http.ResponseWriter, r *http.Request, in *session) {
	j := s.json
	buffer := jsonBuffers.Get().(*jsonBuffer)
	defer buffer.free()
	var ok bool
	if buffer.in, ok = xmlrpc.ReadBody(w, r, buffer.in[:0], j.most); !ok ||
		!j.checked(w, r, in, buffer.in) {
		return
	}
	done, ok := s.rpc.Turn(r.Context(), len(buffer.in))
	if !ok {
		return
	}
	defer done()
	// A method has one name: an escaped one is none, lest a proxy reads another than the server.
	method := strings.TrimPrefix(r.URL.EscapedPath(), jsonPrefix)
	out, ok := j.Answer(r.Context(), buffer.out[:0], in, method, buffer.in)
	if !ok {
		w.Header().Set("Retry-After", "1")
		xmlrpc.Decline(w, http.StatusServiceUnavailable, tooManyAnswers)
		return
	}
	defer out.Release()
	buffer.out = out.Body
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(out.Body))}
	switch {
	case out.HTTP == http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case in.unsigned != nil && out.HTTP < http.StatusBadRequest: // a multicall
		out.HTTP = http.StatusUnauthorized
	}
	if out.HTTP == http.StatusUnauthorized {
		h["Www-Authenticate"] = s.cfg.Authenticator.Challenges(false)
	}
	w.WriteHeader(out.HTTP)
	w.Write(out.Body) // a client that has disconnected may ask again
}

const tooManyAnswers = "Too many large answers are on their way. Ask again in a moment."

// jsonType is never modified.
var jsonType = []string{"application/json"}

// isJSON reports whether the content is JSON in UTF-8, the only encoding that it has.
func isJSON(r *http.Request) bool {
	header := r.Header["Content-Type"]
	if len(header) != 1 {
		return false
	}
	if header[0] == "application/json" {
		return true // what nearly every client sends
	}
	media, params, err := mime.ParseMediaType(header[0])
	charset, has := params["charset"]
	return err == nil && media == "application/json" &&
		(!has && len(params) == 0 || len(params) == 1 && strings.EqualFold(charset, "utf-8"))
}

// structuredKey returns the text of an Idempotency-Key, which may be a string of structured fields
// (RFC 9651, section 3.3.3), as the draft of that header asks for, or stand for itself.
func structuredKey(key string) (text string, ok bool) {
	inner, quoted := strings.CutPrefix(key, `"`)
	if !quoted {
		return key, !strings.ContainsAny(key, `",`)
	}
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == '"':
			return b.String(), i == len(inner)-1 && i > 0
		case c == '\\' && i+1 < len(inner) && (inner[i+1] == '"' || inner[i+1] == '\\'):
			i++
			b.WriteByte(inner[i])
		case c == '\\', c < ' ', c > '~':
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// A jsonBuffer is the memory of a call.
type jsonBuffer struct{ in, out []byte }

var jsonBuffers = sync.Pool{New: func() any { return new(jsonBuffer) }}

// maxKeptBuffer bounds the memory that is kept between calls, in bytes.
const maxKeptBuffer = 64 << 10

func (b *jsonBuffer) free() {
	if cap(b.in) <= maxKeptBuffer && cap(b.out) <= maxKeptBuffer {
		jsonBuffers.Put(b)
	}
}

// serveDocument answers with the OpenAPI document.
func (s *Server) serveDocument(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		xmlrpc.Decline(w, http.StatusMethodNotAllowed, "The document is read with GET.")
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache") // kept, and asked for again by its tag
	h.Set("Etag", s.json.etag)
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == s.json.etag || tag == "*" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	document := s.json.Document()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(document))}
	if r.Method == http.MethodGet {
		w.Write(document)
	}
}
