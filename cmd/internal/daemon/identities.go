package daemon

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"time"

	"example.com/atm/auth"
	"github.com/BurntSushi/toml"
)

// identitiesEvery is how often the file of identities is looked at.
const identitiesEvery = time.Second

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
		list[i] = auth.Mapping{Subject: entry.Subject, URI: entry.URI, DNS: entry.DNS, Email: entry.Email, KeySHA256: entry.KeySHA256}
		for text, to := range map[*string]*[]byte{&entry.Issuer: &list[i].Issuer, &entry.DN: &list[i].Name} {
			if *text == "" {
				continue
			}
			if *to, err = base64.StdEncoding.DecodeString(*text); err != nil {
				return nil, fmt.Errorf("%s: the identity of %s: a name that is no base64", path, entry.Subject)
			}
		}
	}
	return list, nil
}

// followIdentities puts the file of identities in force again when it changes,
// and keeps the last good one.
func (h *House) followIdentities(ctx context.Context) {
	tick := time.NewTicker(identitiesEvery)
	defer tick.Stop()
	seen, _ := os.Stat(h.opts.Identities)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, err := os.Stat(h.opts.Identities)
		if err == nil && seen != nil && now.ModTime().Equal(seen.ModTime()) && now.Size() == seen.Size() {
			continue
		}
		if err != nil && seen == nil {
			continue // it is still gone
		}
		seen = now
		list, err := readIdentities(h.opts.Identities)
		if err == nil {
			err = h.mappings.Update(list)
		}
		if err != nil {
			h.opts.Log.Error("the new identities are not used", slog.Any("error", err))
			continue
		}
		h.opts.Log.Info("identities replaced", slog.Int("identities", len(list)))
	}
}
