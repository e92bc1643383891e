package server

import (
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

// A tokenEndpoint is where callers get tokens for themselves, exchange those of others, and
// revoke them.
type tokenEndpoint struct {
	cfg     *Config
	senders *senders
}

// request authenticates the caller that asks for a token and returns the form, or answers and
// returns nil. The caller signs in by certificate, by Digest, or by a secret in the form,
// and in only one of these ways (RFC 6749, section 2.3). A token does not authenticate here.
func (e *tokenEndpoint) request(w http.ResponseWriter, r *http.Request) (*atm.Caller, url.Values) {
	if e.senders.crossSite(w, r) {
		return nil, nil
	}
	if len(r.Header.Values("Authorization")) == 0 &&
		(r.TLS == nil || len(r.TLS.PeerCertificates) == 0) {
		values := form(w, r)
		if values == nil {
			return nil, nil
		}
		if values.Has("client_secret") {
			return e.secretCaller(w, r, values), values // checked after the body has arrived
		}
		return e.senders.signIn(w, r), values
	}
	caller := e.senders.signIn(w, r)
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
	return e.senders.again(w, r, caller), values
}

// secretCaller authenticates by the secret in a form, or answers and returns nil.
func (e *tokenEndpoint) secretCaller(w http.ResponseWriter, r *http.Request,
	values url.Values,
) *atm.Caller {
	id := auth.Claimant(values.Get("client_id"))
	if e.senders.slowDown(w, "secret", auth.Address(r.RemoteAddr), id) {
		return nil
	}
	caller, err := e.cfg.Authenticator.Secret(r, id, cutNewline(values.Get("client_secret")))
	var failure *auth.Error
	switch {
	case err == nil:
		e.cfg.Metrics.SignIn(caller.Method, "ok")
		signedIn(r)
		return caller
	case errors.As(err, &failure):
		e.senders.failed(r, "secret", id, failure.Reason)
		w.Header()["Www-Authenticate"] = e.cfg.Authenticator.Challenges(false)
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

// issue gives a caller a token for itself (RFC 6749, section 4.4).
func (e *tokenEndpoint) issue(w http.ResponseWriter, r *http.Request) {
	caller, values := e.request(w, r)
	if caller == nil || values == nil {
		return
	}
	switch values.Get("grant_type") {
	case "client_credentials":
	case exchangeGrant:
		e.exchange(w, r, caller, values)
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
	token, err := e.cfg.Teller.SelfToken(r.Context(), caller, values.Get("scope"), bind)
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

// revoke revokes a token (RFC 7009). Text that is not a token of this server needs no revocation.
func (e *tokenEndpoint) revoke(w http.ResponseWriter, r *http.Request) {
	caller, values := e.request(w, r)
	if caller == nil || values == nil {
		return
	}
	if values.Get("token") == "" {
		oauthError(w, "invalid_request")
		return
	}
	if subject, id, ok := e.cfg.Tokens.Read(values.Get("token")); ok {
		err := e.cfg.Teller.GiveUpToken(r.Context(), caller, subject, id)
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

// describe serves the metadata and keys of tokens. It needs no sign-in.
func (e *tokenEndpoint) describe(w http.ResponseWriter, r *http.Request) {
	if !reads(w, r) {
		return
	}
	text, err := e.cfg.Tokens.JWKS()
	if strings.HasSuffix(r.URL.Path, "oauth-authorization-server") {
		text, err = e.cfg.Tokens.Metadata(e.cfg.at(r), e.cfg.Issuers)
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
