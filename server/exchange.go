package server

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller"
	"example.com/atm/xmlrpc"
)

const (
	exchangeGrant   = "urn:ietf:params:oauth:grant-type:token-exchange"
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

	// exchangeLife is the life of a grant if the request does not say one.
	exchangeLife = 5 * time.Minute

	noGrantNow = "The server cannot make a grant at the moment."
)

// readExchange parses the form of a token exchange. problem is the OAuth error code for a
// malformed form.
func readExchange(values url.Values) (asked *auth.Details, life time.Duration, problem string) {
	asked, ok := auth.ParseDetails(values.Get("authorization_details"))
	switch {
	case values.Get("subject_token") == "", values.Get("subject_token_type") != accessTokenType,
		values.Has("requested_token_type") && values.Get("requested_token_type") != accessTokenType,
		values.Has("actor_token"): // the actor is the caller, who has signed in
		return nil, 0, "invalid_request"
	case !ok:
		return nil, 0, "invalid_authorization_details"
	}
	life = exchangeLife
	if text := values.Get("seconds"); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, 0, "invalid_request"
		}
		life = time.Duration(n) * time.Second
	}
	return asked, life, ""
}

// exchange gives a caller that has the token of another subject a grant by that subject
// (RFC 8693): to operate on the subject's accounts within the scope and the life of the token.
// The grant is an operation of the token's subject, like any other grant.
func (e *tokenEndpoint) exchange(w http.ResponseWriter, r *http.Request, caller *atm.Caller,
	values url.Values,
) {
	asked, life, problem := readExchange(values)
	if problem != "" {
		oauthError(w, problem)
		return
	}
	grantor, err := e.cfg.Authenticator.Exchangeable(r, values.Get("subject_token"))
	if err != nil || grantor.Subject == caller.Subject {
		oauthError(w, "invalid_request") // RFC 8693, section 2.2.2
		return
	}
	for _, action := range asked.Actions {
		if !grantor.InScope(atm.Operation(action)) {
			oauthError(w, "invalid_scope")
			return
		}
	}
	life, ok := grantor.Left(life, time.Now())
	if !ok {
		oauthError(w, "invalid_grant")
		return
	}
	grantor.Scope = nil // the scope covers the granted actions, and need not include granting
	text := func(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }
	reply, err := e.cfg.Teller.Begin(r.Context(), grantor, teller.Call{
		Operation: atm.GrantCreate,
		Beside:    []*atm.Caller{caller}, Args: []atm.Arg{
			text(asked.Accounts[0]), text(strings.Join(asked.Actions, " ")), text(asked.Cap),
			text(caller.Subject), text(strconv.Itoa(int(life / time.Second))),
			text(strings.Join(asked.Accounts[1:], " ")),
		},
	})
	var malformed *teller.MalformedError
	switch {
	case errors.As(err, &malformed):
		oauthError(w, "invalid_authorization_details")
		return
	case err != nil:
		xmlrpc.Decline(w, http.StatusServiceUnavailable, noGrantNow)
		return
	}
	status := reply()
	record, made := status.Result.(atm.Record)
	switch {
	case status.Receipt == "" && status.Code != atm.PermissionDenied:
		xmlrpc.Decline(w, http.StatusServiceUnavailable, noGrantNow)
	case status.Code != atm.OK || !made:
		oauthError(w, "invalid_grant")
	default:
		writeJSON(w, http.StatusOK, map[string]any{
			"access_token": asMap(record)["token"], "issued_token_type": accessTokenType,
			"token_type": "Bearer",
			"expires_in": int(life / time.Second), "authorization_details": []any{asked},
		})
	}
}
