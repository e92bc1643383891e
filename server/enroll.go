package server

import (
	"errors"
	"net/http"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller"
	"example.com/atm/xmlrpc"
)

// serveAuthority serves the certificate of an authority. A client that is about to trust the
// server's authority compares the fingerprint first. The clients' authority tells a client
// whether its certificate is of the authority in force.
func serveAuthority(w http.ResponseWriter, r *http.Request, authority []byte) {
	if !reads(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Write(authority)
}

// reads reports whether r only reads, or answers 405.
func reads(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	xmlrpc.Decline(w, http.StatusMethodNotAllowed, "This is only read.")
	return false
}

// serveEnroll issues one certificate to a caller with the code of an invitation, for the key of
// the caller's certificate request.
func (s *Server) serveEnroll(w http.ResponseWriter, r *http.Request) {
	if s.senders.crossSite(w, r) {
		return
	}
	from := auth.Address(r.RemoteAddr)
	if s.senders.slowDown(w, "invitation", from, "") {
		return
	}
	values := form(w, r)
	if values == nil {
		return
	}
	refuse := func(reason string) {
		s.senders.failed(r, "invitation", "", reason)
		http.Error(w, "The invitation is none, is over, or was used before.",
			http.StatusUnauthorized)
	}
	invitation, err := s.cfg.Authenticator.Invited(values.Get("code"))
	if err != nil {
		refuse(err.Error())
		return
	}
	record, err := s.cfg.Teller.Enroll(r.Context(), teller.Invitation(invitation),
		values.Get("request"), from.String())
	var malformed *teller.MalformedError
	switch {
	case errors.As(err, &malformed):
		http.Error(w, malformed.Error(), http.StatusBadRequest)
	case errors.Is(err, teller.ErrUsed):
		refuse(err.Error())
	case err != nil:
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot sign a certificate "+
			"at the moment.")
	default:
		s.cfg.Metrics.SignIn("invitation", "ok")
		writeJSON(w, http.StatusOK, asMap(record))
	}
}

func asMap(record atm.Record) map[string]any {
	members := make(map[string]any, len(record))
	for _, m := range record {
		members[m.Name] = m.Value
	}
	return members
}
