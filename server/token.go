package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller"
	"example.com/atm/xmlrpc"
)

// maxForm bounds the form that is posted to the token endpoints, in bytes.
const maxForm = 8 << 10

// form parses the form of a request, or answers and returns nil. No parameter may occur twice
// (RFC 6749, section 3.2).
func form(w http.ResponseWriter, r *http.Request) url.Values {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		xmlrpc.Decline(w, http.StatusMethodNotAllowed, "Tokens are asked for with POST.")
		return nil
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		xmlrpc.Decline(w, http.StatusUnsupportedMediaType, "The Content-Type is "+
			"application/x-www-form-urlencoded.")
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil || len(body) > maxForm {
		xmlrpc.Decline(w, http.StatusRequestEntityTooLarge, "The form is too large, or did not "+
			"arrive.")
		return nil
	}
	values, err := url.ParseQuery(string(body))
	for _, several := range values {
		if len(several) > 1 {
			err = errors.New("twice")
		}
	}
	if err != nil {
		oauthError(w, "invalid_request")
		return nil
	}
	return values
}

// tokenRequest authenticates the caller that asks for a token and returns the form, or answers
// and returns nil. The caller signs in by certificate, by Digest, or by a secret in the form,
// and in only one of these ways (RFC 6749, section 2.3). A token does not authenticate here.
func (s *Server) tokenRequest(w http.ResponseWriter, r *http.Request) (*atm.Caller, url.Values) {
	if err := s.cross.Check(r); err != nil {
		xmlrpc.Decline(w, http.StatusForbidden, "Requests from other sites' pages are refused.")
		return nil, nil
	}
	if len(r.Header.Values("Authorization")) == 0 &&
		(r.TLS == nil || len(r.TLS.PeerCertificates) == 0) {
		values := form(w, r)
		if values == nil {
			return nil, nil
		}
		if values.Has("client_secret") {
			return s.secretCaller(w, r, values), values // checked after the body has arrived
		}
		return s.signIn(w, r), values
	}
	caller := s.signIn(w, r)
	if caller == nil {
		return nil, nil
	}
	if caller.Method == "jwt" {
		oauthError(w, "unauthorized_client")
		return nil, nil
	}
	values := form(w, r)
	if values == nil {
		return nil, nil
	}
	if values.Has("client_secret") {
		oauthError(w, "invalid_request")
		return nil, nil
	}
	return s.again(w, r, caller), values
}

// secretCaller authenticates by the secret in a form, or answers and returns nil.
func (s *Server) secretCaller(w http.ResponseWriter, r *http.Request,
	values url.Values,
) *atm.Caller {
	from, id := auth.Address(r.RemoteAddr), auth.Claimant(values.Get("client_id"))
	if s.slowDown(w, "secret", from, id) {
		return nil
	}
	caller, err := s.cfg.Authenticator.Secret(r, id, cutNewline(values.Get("client_secret")))
	var failure *auth.Error
	switch {
	case err == nil:
		s.cfg.Metrics.signIn(caller.Method, "ok")
		signedIn(r)
		return caller
	case errors.As(err, &failure):
		s.cfg.Metrics.signIn("secret", "failed")
		s.throttle.Failed(from, id)
		s.trail.signInFailed(r, failure.Reason)
		w.Header()["Www-Authenticate"] = s.cfg.Authenticator.Challenges(false)
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
	default:
		w.Header().Set("Retry-After", "1")
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot check a secret at "+
			"the moment.")
	}
	return nil
}

// cutNewline cuts the newline at the end of a file, which curl sends as part of the form. No
// secret ends with a newline.
func cutNewline(secret string) string {
	return strings.TrimSuffix(strings.TrimSuffix(secret, "\n"), "\r")
}

// serveToken issues a token to a caller for itself (RFC 6749, section 4.4).
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	caller, values := s.tokenRequest(w, r)
	if caller == nil || values == nil {
		return
	}
	switch values.Get("grant_type") {
	case "client_credentials":
	case exchangeGrant:
		s.serveExchange(w, r, caller, values)
		return
	default:
		oauthError(w, "unsupported_grant_type")
		return
	}
	// RFC 8705 defines no parameter by which a client asks for a bound token.
	bind := values.Get("bind") == "certificate"
	if values.Has("bind") && (!bind || caller.Method != "mtls") {
		oauthError(w, "invalid_request")
		return
	}
	token, err := s.cfg.Teller.SelfToken(r.Context(), caller, values.Get("scope"), bind)
	var malformed *teller.MalformedError
	switch {
	case errors.As(err, &malformed):
		oauthError(w, "invalid_scope")
	case errors.Is(err, teller.ErrEnds), errors.Is(err, teller.ErrTakenBack):
		oauthError(w, "invalid_grant")
	case err != nil:
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot issue a token at the "+
			"moment.")
	default:
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": token.Text, "token_type": "Bearer",
			"expires_in": int(token.Life / time.Second), "scope": token.Scope,
		})
	}
}

// serveTokenRevoke revokes a token (RFC 7009). Text that is not a token of this server needs no
// revocation.
func (s *Server) serveTokenRevoke(w http.ResponseWriter, r *http.Request) {
	caller, values := s.tokenRequest(w, r)
	if caller == nil || values == nil {
		return
	}
	if values.Get("token") == "" {
		oauthError(w, "invalid_request")
		return
	}
	if subject, id, ok := s.cfg.Tokens.Read(values.Get("token")); ok {
		err := s.cfg.Teller.GiveUpToken(r.Context(), caller, subject, id)
		if errors.Is(err, teller.ErrTakenBack) {
			oauthError(w, "unauthorized_client")
			return
		}
		if err != nil {
			xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot revoke a token "+
				"at the moment.")
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}

// serveWellKnown serves the metadata and keys of tokens. It needs no sign-in.
func (s *Server) serveWellKnown(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		xmlrpc.Decline(w, http.StatusMethodNotAllowed, "This is only read.")
		return
	}
	text, err := s.cfg.Tokens.JWKS()
	if strings.HasSuffix(r.URL.Path, "oauth-authorization-server") {
		text, err = s.cfg.Tokens.Metadata(cmp.Or(s.cfg.PublicURL, "https://"+r.Host))
	}
	if err != nil {
		xmlrpc.Decline(w, http.StatusInternalServerError, "The server cannot tell.")
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}

func oauthError(w http.ResponseWriter, code string) {
	writeJSON(w, http.StatusBadRequest, map[string]any{"error": code})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
