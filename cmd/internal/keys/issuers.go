package keys

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"example.com/atm"
	"example.com/atm/auth"
	"github.com/BurntSushi/toml"
)

// readIssuers reads a file of issuers. Names of files are relative to its
// folder.
//
//	[[issuer]]
//	issuer = "https://login.example"
//	audience = "atm"
//	algorithm = "RS256"
//	jwks_url = "https://login.example/keys"   # or jwks_file
//	ca = "login-ca.crt"                       # left out: the system's authorities
//	claim = "email"                           # or sub, also when left out
//	typ = "at+jwt"                            # left out: JWT
//	scope = "inquiry statement"               # left out: all that roles allow
//	login = true                              # people sign in to the console with it
//	client_id = "atm-console"                 # left out: the audience
//	client_secret_file = "login.secret"       # left out: a public client
//	groups = "groups"                         # claim with the groups of a person
//
//	[issuer.cli]                              # people sign in with atmclient and atmctl
//	client_id = "atm-cli"                     # of a public client
//	token = "id"                              # or access
//	scope = "openid email offline_access"     # left out: as needed
//	resource = "https://atm.example/RPC2"     # left out: none
//
//	[issuer.subjects]
//	"carol@example.com" = "user:carol"
//
//	[issuer.roles]
//	"bank-tellers" = "customer teller"
func readIssuers(path string) ([]auth.Issuer, error) {
	var file struct {
		Issuer []issuerEntry `toml:"issuer"`
	}
	meta, err := toml.DecodeFile(path, &file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %s", path, unknown[0])
	}
	list := make([]auth.Issuer, len(file.Issuer))
	for i, entry := range file.Issuer {
		if list[i], err = entry.issuer(filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// An issuerEntry is an issuer as the file has it.
type issuerEntry struct {
	Issuer    string `toml:"issuer"`
	Audience  string `toml:"audience"`
	Algorithm string `toml:"algorithm"`
	KeysURL   string `toml:"jwks_url"`
	KeysFile  string `toml:"jwks_file"`
	CA        string `toml:"ca"`
	Type      string `toml:"typ"`
	Scope     string `toml:"scope"`
	peopleEntry
	loginEntry
}

// A peopleEntry says whom the tokens of the issuer name.
type peopleEntry struct {
	Claim    string            `toml:"claim"`
	Subjects map[string]string `toml:"subjects"`
	Groups   string            `toml:"groups"`
	Roles    map[string]string `toml:"roles"`
}

func (e *peopleEntry) people() auth.People {
	p := auth.People{Claim: cmp.Or(e.Claim, "sub"), Subjects: e.Subjects, Groups: e.Groups}
	if len(e.Roles) > 0 {
		p.Roles = make(map[string][]atm.Role, len(e.Roles))
	}
	for group, roles := range e.Roles {
		p.Roles[group] = nil
		for _, role := range strings.Fields(roles) {
			p.Roles[group] = append(p.Roles[group], atm.Role(role))
		}
	}
	return p
}

// A loginEntry is what people need to sign in with the issuer, to the console and on command lines.
type loginEntry struct {
	Login  bool   `toml:"login"`
	Client string `toml:"client_id"`
	Secret string `toml:"client_secret_file"`

	CommandLine *struct {
		Client   string `toml:"client_id"`
		Token    string `toml:"token"`
		Scope    string `toml:"scope"`
		Resource string `toml:"resource"`
	} `toml:"cli"`
}

// issuer reads what the entry names; files are named relative to folder.
func (e *issuerEntry) issuer(folder string) (auth.Issuer, error) {
	within := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(folder, name)
	}
	i := auth.Issuer{
		Name: e.Issuer, Audience: e.Audience, Algorithm: e.Algorithm, Type: e.Type,
		People: e.people(), CommandLine: e.commandLine(),
		KeysURL: e.KeysURL, KeysFile: within(e.KeysFile),
	}
	if e.Scope != "" {
		i.Scope = strings.Fields(e.Scope)
	}
	var err error
	if i.Login, err = e.login(within); err != nil {
		return i, fmt.Errorf("%s: %w", e.Issuer, err)
	}
	if e.CA == "" {
		return i, nil
	}
	text, err := os.ReadFile(within(e.CA))
	if err != nil {
		return i, err
	}
	i.Roots = x509.NewCertPool()
	if !i.Roots.AppendCertsFromPEM(text) {
		return i, fmt.Errorf("%s holds no certificate", within(e.CA))
	}
	return i, nil
}

func (e *issuerEntry) login(within func(string) string) (*auth.Login, error) {
	if !e.Login {
		if e.Client != "" || e.Secret != "" {
			return nil, errors.New("client_id and client_secret_file go with login = true")
		}
		return nil, nil
	}
	login := &auth.Login{ClientID: cmp.Or(e.Client, e.Audience)}
	if e.Secret != "" {
		secret, err := os.ReadFile(within(e.Secret))
		if err != nil {
			return nil, err
		}
		login.Secret = strings.TrimSpace(string(secret))
	}
	return login, nil
}

func (e *loginEntry) commandLine() *auth.CommandLine {
	c := e.CommandLine
	if c == nil {
		return nil
	}
	known := &auth.CommandLine{
		ClientID: c.Client, Token: cmp.Or(c.Token, auth.IDToken), Resource: c.Resource,
	}
	if c.Scope != "" {
		known.Scope = strings.Fields(c.Scope)
	}
	return known
}

// loadIssuers puts the file of issuers in force, unless it is invalid.
func (t *Tokens) loadIssuers(file string) error {
	list, err := readIssuers(file)
	if err != nil {
		return err
	}
	for _, issuer := range list {
		if issuer.Name == t.Issuer() {
			return fmt.Errorf("%s: %s is this server", file, issuer.Name)
		}
	}
	if err := t.Foreign.Update(list); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
