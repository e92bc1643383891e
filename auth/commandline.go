package auth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A CommandLine is how an OpenID provider knows atmclient and atmctl, whose people sign in with it.
// It is a public client: nothing that is on the machines of people is a secret.
type CommandLine struct {
	ClientID string

	// Token is the token that they send to this server: IDToken or AccessToken.
	Token string

	Scope    []string // that they ask the provider for; nil for their choice
	Resource string   // whose access token they ask for (RFC 8707); empty for none
}

// The tokens that command lines send. An ID token is for its client alone, so it is good here only
// if it is for that of the command lines.
const (
	IDToken     = "id"
	AccessToken = "access"
)

func (c *CommandLine) check(i *Issuer) error {
	resource, err := url.Parse(c.Resource)
	switch {
	case c.ClientID == "" || !strings.HasPrefix(i.Name, "https://"):
		return errors.New("signing in needs a client_id, and an issuer that is an https URL")
	case c.Token != IDToken && c.Token != AccessToken:
		return fmt.Errorf("the token of command lines is id or access, not %q", c.Token)
	case c.Token == IDToken && i.Type != "" && i.Type != "JWT":
		return fmt.Errorf("an ID token has no typ %q", i.Type)
	case c.Resource != "" && (err != nil || !resource.IsAbs() || resource.Fragment != ""):
		return fmt.Errorf("the resource %q is no absolute URI", c.Resource)
	case c.Scope != nil && !slices.Contains(c.Scope, "openid"):
		return errors.New("the scope of command lines lacks openid")
	}
	return nil
}

// A publishedLogin is what the metadata says of a CommandLine.
type publishedLogin struct {
	Issuer   string `json:"issuer"`
	ClientID string `json:"client_id"`
	Token    string `json:"token"`
	Scope    string `json:"scope,omitempty"`
	Resource string `json:"resource,omitempty"`
}

// commandLines are the issuers by which people sign in on command lines, in order of name.
func (s *Issuers) commandLines() []publishedLogin {
	list := []publishedLogin{}
	if s == nil || s.list.Load() == nil {
		return list
	}
	for _, keys := range *s.list.Load() {
		if c := keys.CommandLine; c != nil {
			list = append(list, publishedLogin{
				keys.Name, c.ClientID, c.Token, strings.Join(c.Scope, " "), c.Resource,
			})
		}
	}
	slices.SortFunc(list, func(a, b publishedLogin) int {
		return strings.Compare(a.Issuer, b.Issuer)
	})
	return list
}

// forCommandLine reports whether a token is an ID token for the command lines (OpenID Connect
// Core, section 2).
func (i *Issuer) forCommandLine(payload claimSet) bool {
	c := i.CommandLine
	if c == nil || c.Token != IDToken || !hasAudience(payload["aud"], c.ClientID) {
		return false
	}
	party, named := payload["azp"]
	return named && word(party) == c.ClientID || !named && word(payload["aud"]) == c.ClientID
}
