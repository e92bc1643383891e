package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller"
	"example.com/atm/teller/subscriptions"
	"example.com/atm/xmlrpc"
)

// maxHook bounds a webhook that arrives, in bytes.
const maxHook = 8 << 10

// A notice is what a webhook of a source says: a text for the owner of an account.
type notice struct {
	Account atm.Arg
	Text    string
}

var errNotice = errors.New(`not an object such as {"account": 100, "text": "…"}`)

// parseNotice reads the body of a webhook: an object of these two members, each once. The number of
// the account may be in quotation marks.
func parseNotice(body []byte) (notice, error) {
	var n notice
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') || !utf8.Valid(body) {
		return n, errNotice
	}
	hasText := false
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return n, errNotice
		}
		value, err := d.Token()
		if err != nil {
			return n, errNotice
		}
		text, isText := value.(string)
		number, isNumber := value.(json.Number)
		switch {
		case name == "account" && n.Account.Text == "" && isText:
			n.Account = atm.Arg{Kind: atm.String, Text: text}
		case name == "account" && n.Account.Text == "" && isNumber:
			n.Account = atm.Arg{Kind: atm.Int, Text: number.String()}
		case name == "text" && !hasText && isText:
			n.Text, hasText = text, true
		default:
			return n, errNotice
		}
	}
	if _, err := d.Token(); err != nil || !hasText || !isDigits(n.Account.Text) {
		return n, errNotice
	}
	if _, err := d.Token(); err != io.EOF {
		return n, errNotice
	}
	return n, nil
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// serveHook takes a webhook of a source: a notice by the service that the source is of. Its request
// id follows from its own, so however often it arrives, there is one notice.
func (s *Server) serveHook(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		xmlrpc.Decline(w, http.StatusMethodNotAllowed, "A webhook is a POST.")
		return
	}
	if s.senders.crossSite(w, r) {
		return
	}
	from := auth.Address(r.RemoteAddr)
	if s.senders.slowDown(w, "webhook", from, "") {
		return
	}
	service, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, subscriptions.HookPath), "/")
	body, err := io.ReadAll(io.LimitReader(r.Body, maxHook+1))
	if err != nil || len(body) > maxHook {
		xmlrpc.Decline(w, http.StatusRequestEntityTooLarge, "The webhook is too large, or did not "+
			"arrive.")
		return
	}
	if !ok {
		service = ""
	}
	caller, id, err := s.cfg.Webhooks(r.Context(), service, name, r.Header, body)
	switch {
	case errors.Is(err, teller.ErrUnavailable):
		w.Header().Set("Retry-After", "1")
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot check a webhook at "+
			"the moment.")
		return
	case err != nil:
		s.senders.failed(r, "webhook", "", err.Error())
		http.Error(w, "There is no such source, or the webhook is not signed by it, or it is "+
			"more than five minutes old.", http.StatusUnauthorized)
		return
	}
	s.cfg.Metrics.SignIn("webhook", "ok")
	caller.IP = from.String()
	n, err := parseNotice(body)
	if err != nil {
		http.Error(w, "The webhook is "+err.Error()+".", http.StatusUnprocessableEntity)
		return
	}
	s.leaveNotice(w, r, caller, teller.Call{
		Operation: atm.Notify, Request: hookRequest(caller, id),
		Args: []atm.Arg{n.Account, {Kind: atm.String, Text: n.Text}},
	})
}

// hookRequest is the request id of the webhook with an id. It is that of no other source, and of no
// call of the service: a thief of one secret cannot use up the ids of others.
func hookRequest(source *atm.Caller, id string) string {
	sum := sha256.Sum256([]byte(id))
	return source.ID + " " + hex.EncodeToString(sum[:])
}

// leaveNotice carries a notice out, and answers.
func (s *Server) leaveNotice(w http.ResponseWriter, r *http.Request, caller *atm.Caller,
	call teller.Call,
) {
	reply, err := s.cfg.Teller.Begin(r.Context(), caller, call)
	var malformed *teller.MalformedError
	switch {
	case errors.As(err, &malformed):
		s.cfg.Teller.Malformed(r.Context(), caller, call, malformed.Error())()
		http.Error(w, malformed.Error(), http.StatusUnprocessableEntity)
		return
	case err != nil:
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot read its records at "+
			"the moment.")
		return
	}
	status := reply()
	writeJSON(w, hookStatus(status.Code), map[string]any{
		"status": status.Word(), "reason": status.Reason, "code": status.Code,
		"receipt": status.Receipt,
	})
}

// hookStatus is the status of HTTP for the answer to a notice. The sender tries again after 503
// alone, if it is sensible.
func hookStatus(code atm.Code) int {
	switch code {
	case atm.OK:
		return http.StatusOK
	case atm.PermissionDenied:
		return http.StatusForbidden
	case atm.AccountNotFound:
		return http.StatusNotFound
	case atm.IdempotencyConflict, atm.IdempotencyKeyExpired:
		return http.StatusConflict
	case atm.Unavailable, atm.OutcomeUnknown, atm.Internal:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}
