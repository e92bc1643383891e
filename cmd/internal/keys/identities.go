package keys

import (
	"encoding/base64"
	"fmt"

	"example.com/atm/auth"
	"github.com/BurntSushi/toml"
)

// readIdentities reads a file of identities:
//
//	[[identity]]
//	subject = "service:till-1"
//	dns = "till-1.shop.example"   # or uri, email, key_sha256, or issuer and dn in base64 of DER
func readIdentities(path string) ([]auth.Mapping, error) {
	var file struct {
		Identity []struct {
			Subject   string `toml:"subject"`
			URI       string `toml:"uri"`
			DNS       string `toml:"dns"`
			Email     string `toml:"email"`
			KeySHA256 string `toml:"key_sha256"`
			Issuer    string `toml:"issuer"`
			DN        string `toml:"dn"`
		} `toml:"identity"`
	}
	meta, err := toml.DecodeFile(path, &file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %s", path, unknown[0])
	}
	list := make([]auth.Mapping, len(file.Identity))
	for i, entry := range file.Identity {
		list[i] = auth.Mapping{
			Subject: entry.Subject, URI: entry.URI, DNS: entry.DNS,
			Email: entry.Email, KeySHA256: entry.KeySHA256,
		}
		for text, to := range map[*string]*[]byte{
			&entry.Issuer: &list[i].Issuer,
			&entry.DN:     &list[i].Name,
		} {
			if *text == "" {
				continue
			}
			if *to, err = base64.StdEncoding.DecodeString(*text); err != nil {
				return nil, fmt.Errorf("%s: the identity of %s: a name that is not base64", path,
					entry.Subject)
			}
		}
	}
	return list, nil
}

// loadIdentities puts the file of identities in force, unless it is invalid.
func (k *Keys) loadIdentities() error {
	list, err := readIdentities(k.cfg.Identities)
	if err != nil {
		return err
	}
	if err := k.Mappings.Update(list); err != nil {
		return fmt.Errorf("%s: %w", k.cfg.Identities, err)
	}
	return nil
}
