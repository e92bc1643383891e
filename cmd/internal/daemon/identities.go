package daemon

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"time"

	"example.com/atm/auth"
	"example.com/atm/certs"
	"github.com/BurntSushi/toml"
)

// followEvery is how often a file that is followed is looked at.
const followEvery = time.Second

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
				return nil, fmt.Errorf("%s: the identity of %s: a name that is no base64", path,
					entry.Subject)
			}
		}
	}
	return list, nil
}

// loadIdentities puts the file of identities in force, unless it is wrong.
func (h *Server) loadIdentities() error {
	list, err := readIdentities(h.opts.Identities)
	if err != nil {
		return err
	}
	if err := h.mappings.Update(list); err != nil {
		return fmt.Errorf("%s: %w", h.opts.Identities, err)
	}
	return nil
}

// follow loads a file again when it is not the one any more that was seen when it was
// loaded. When it is wrong, what was loaded before stays in force.
func (h *Server) follow(ctx context.Context, path, what string, seen certs.Version,
	load func() error,
) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := certs.VersionOf(path)
		if now == seen {
			continue
		}
		seen = now
		if err := load(); err != nil {
			h.opts.Log.Error("the new "+what+" are not used", slog.Any("error", err))
			continue
		}
		h.opts.Log.Info(what + " replaced")
		if status := h.teller.Reloaded(ctx, what); status.Receipt == "" {
			h.opts.Log.Warn("that a file was read again is not in the audit log",
				slog.String("file", what), slog.String("reason", status.Reason))
		}
	}
}
