package keys

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
//
//	[issuer.subjects]
//	"carol@example.com" = "user:carol"
func readIssuers(path string) ([]auth.Issuer, error) {
	var file struct {
		Issuer []struct {
			Issuer    string            `toml:"issuer"`
			Audience  string            `toml:"audience"`
			Algorithm string            `toml:"algorithm"`
			KeysURL   string            `toml:"jwks_url"`
			KeysFile  string            `toml:"jwks_file"`
			CA        string            `toml:"ca"`
			Claim     string            `toml:"claim"`
			Type      string            `toml:"typ"`
			Scope     string            `toml:"scope"`
			Subjects  map[string]string `toml:"subjects"`
		} `toml:"issuer"`
	}
	meta, err := toml.DecodeFile(path, &file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %s", path, unknown[0])
	}
	within := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(path), name)
	}
	list := make([]auth.Issuer, len(file.Issuer))
	for i, entry := range file.Issuer {
		list[i] = auth.Issuer{
			Name: entry.Issuer, Audience: entry.Audience, Algorithm: entry.Algorithm,
			Type: entry.Type, Claim: entry.Claim,
			Subjects: entry.Subjects, KeysURL: entry.KeysURL, KeysFile: within(entry.KeysFile),
		}
		if entry.Claim == "" {
			list[i].Claim = "sub"
		}
		if entry.Scope != "" {
			list[i].Scope = strings.Fields(entry.Scope)
		}
		if entry.CA == "" {
			continue
		}
		text, err := os.ReadFile(within(entry.CA))
		if err != nil {
			return nil, err
		}
		list[i].Roots = x509.NewCertPool()
		if !list[i].Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", within(entry.CA))
		}
	}
	return list, nil
}

// loadIssuers puts the file of issuers in force, unless it is wrong.
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
