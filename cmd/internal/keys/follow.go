package keys

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"example.com/atm/certs"
)

const (
	followEvery = time.Second // files that somebody may replace are looked at
	renewEvery  = time.Hour   // the server's own certificates are looked at
)

// Follow puts what somebody replaces in the folder, or in the files that the settings
// name, in force, and renews the server's own certificates, until ctx is done. Serve comes
// before it.
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

// followFile loads a file again when it differs from the version that was loaded last.
// When it is wrong, what was loaded before stays in force.
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

// followAuthorities puts other authorities in force when their files are
// replaced, keeps the last good ones, and renews the server's certificate in
// the last third of its life.
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

// replaceAndShare puts the authorities in the folder in force, once the other replicas
// have them too. It reports false when it has to be tried again.
func (k *Keys) replaceAndShare(ctx context.Context) bool {
	next, err := readSigning(k.cfg.Dir)
	if err != nil {
		k.cfg.Log.Error("the new authorities are not used", slog.Any("error", err))
		return false // they may be on their way
	}
	own, err := k.cfg.Replicas.Share(ctx)
	if err != nil {
		k.cfg.Log.Error("the other replicas do not have the new authorities yet",
			slog.Any("error", err))
		return false
	}
	old := k.enforce(next)
	// otherwise another replica told of it
	if own && !old.client.Certificate.Equal(next.client.Certificate) {
		k.teller.KeyRotated(ctx, certs.Fingerprint(old.client.Certificate),
			certs.Fingerprint(next.client.Certificate))
	}
	return true
}

// ReplaceAuthorities puts the authorities in force that are in the folder now.
func (k *Keys) ReplaceAuthorities() error {
	next, err := readSigning(k.cfg.Dir)
	if err == nil {
		k.enforce(next)
	}
	return err
}

// enforce puts authorities in force, and returns those before them.
func (k *Keys) enforce(next *signing) *signing {
	old := k.signing.Swap(next)
	if k.signIn != nil {
		k.signIn.Forget()
	}
	k.cfg.Log.Info("authorities replaced",
		slog.String("clients", certs.Fingerprint(next.client.Certificate)))
	return old
}
