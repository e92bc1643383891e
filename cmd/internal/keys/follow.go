package keys

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"example.com/atm/certs"
)

const (
	followEvery = time.Second // how often files that may be replaced are checked
	renewEvery  = time.Hour   // how often the server's own certificates are checked
)

// Follow applies changes of files in the folder, and of files that the settings name, and
// renews the server's own certificates, until ctx is done. Call Serve first.
func (k *Keys) Follow(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { k.followAuthorities(ctx) })
	if k.cfg.Identities != "" {
		wg.Go(func() {
			k.followFile(ctx, k.cfg.Identities, "identities", k.loaded.identities,
				k.loadIdentities)
		})
	}
	if k.cfg.Issuers != "" {
		wg.Go(func() {
			k.followFile(ctx, k.cfg.Issuers, "issuers", k.loaded.issuers, func() error {
				return k.loadIssuers(k.cfg.Issuers)
			})
		})
	}
}

// followFile loads a file again if it has changed since it was last loaded. If the new content
// is invalid, the old content stays in force.
func (k *Keys) followFile(ctx context.Context, path, what string, seen certs.Version,
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
			k.cfg.Log.Error("the new "+what+" are not used", slog.Any("error", err))
			continue
		}
		k.cfg.Log.Info(what + " replaced")
		if status := k.teller.Reloaded(ctx, what); status.Receipt == "" {
			k.cfg.Log.Warn("that a file was read again is not in the audit log",
				slog.String("file", what), slog.String("reason", status.Reason))
		}
	}
}

// followAuthorities puts new authorities in force when their files are replaced, keeps the last
// valid ones, and renews the server's certificate in the last third of its life.
func (k *Keys) followAuthorities(ctx context.Context) {
	look, renew := time.NewTicker(followEvery), time.NewTicker(renewEvery)
	defer look.Stop()
	defer renew.Stop()
	seen := k.Authorities.version()
	k.renewOwnClients(ctx)
	for {
		select {
		case <-look.C:
		case <-renew.C:
			if err := k.renewServer(k.cfg.Hosts, false); err != nil {
				k.cfg.Log.Error("the server certificate is not renewed", slog.Any("error", err))
			}
			k.renewOwnClients(ctx)
			continue
		case <-ctx.Done():
			return
		}
		if now := k.Authorities.version(); now != seen && k.replaceAndShare(ctx) {
			seen = now
			k.renewOwnClients(ctx)
		}
	}
}

// replaceAndShare puts the authorities in the folder in force after the other replicas have
// received them. It reports false if it has to be tried again.
func (k *Keys) replaceAndShare(ctx context.Context) bool {
	next, err := readSigning(k.cfg.Dir)
	if err != nil {
		k.cfg.Log.Error("the new authorities are not used", slog.Any("error", err))
		return false // their files may be incomplete yet
	}
	own, err := k.cfg.Replicas.Share(ctx)
	if err != nil {
		k.cfg.Log.Error("the other replicas do not have the new authorities yet",
			slog.Any("error", err))
		return false
	}
	old := k.enforce(next)
	// otherwise the change came from another replica
	if own && !old.client.Certificate.Equal(next.client.Certificate) {
		k.teller.KeyRotated(ctx, certs.Fingerprint(old.client.Certificate),
			certs.Fingerprint(next.client.Certificate))
	}
	return true
}

// ReplaceAuthorities puts the authorities in the folder in force.
func (k *Keys) ReplaceAuthorities() error {
	next, err := readSigning(k.cfg.Dir)
	if err == nil {
		k.enforce(next)
	}
	return err
}

// enforce puts authorities in force, and returns the previous ones.
func (k *Keys) enforce(next *signing) *signing {
	old := k.signing.Swap(next)
	if k.signIn != nil {
		k.signIn.Forget()
	}
	k.cfg.Log.Info("authorities replaced",
		slog.String("clients", certs.Fingerprint(next.client.Certificate)))
	return old
}
