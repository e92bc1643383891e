package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/feed"
	"example.com/atm/feed/webhook"
	"example.com/atm/teller/events"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// Feed has the settings of the event feed.
type Feed struct {
	// AllowNet has the networks that events may be sent to although they are not of the public
	// Internet.
	AllowNet []netip.Prefix

	// CA is the file with authorities that receivers' certificates may be of, beside those of
	// the system; empty for none.
	CA string

	// Cert and Key are the files of a certificate that receivers may ask for; empty for none.
	Cert, Key string

	Rate float64 // events a second; 0 for the default
}

// sender returns what sends events.
func (c Feed) sender() (*webhook.Sender, error) {
	cfg := webhook.Config{Allow: c.AllowNet}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		if cfg.Roots, err = x509.SystemCertPool(); err != nil {
			cfg.Roots = x509.NewCertPool()
		}
		if !cfg.Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%w: --feed-ca %s has no certificate", datadir.ErrUsage, c.CA)
		}
	}
	if c.Cert != "" {
		if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			return nil, fmt.Errorf("%w: --feed-cert: %w", datadir.ErrUsage, err)
		}
		// It is read again for each connection, so one that was renewed is used at once.
		cfg.Certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			return &pair, err
		}
	}
	return webhook.NewSender(cfg), nil
}

// newFeedKeys returns what events are signed with.
func (s *Server) newFeedKeys(secret []byte) (*feed.Keys, error) {
	secrets, err := feeds.NewSecrets(secret)
	if err != nil {
		return nil, err
	}
	return feed.NewKeys(secrets, func(url string) error {
		return webhook.CheckURL(url, s.opts.Feed.AllowNet...)
	}), nil
}

// newFeed returns what delivers events.
func (s *Server) newFeed(keys *feed.Keys) (*feed.Feed, error) {
	sender, err := s.opts.Feed.sender()
	if err != nil {
		return nil, err
	}
	// It reads the journal alone: an archive that is slow would hold up every subscription.
	return feed.New(feed.Config{
		Store: s.accounts, Keys: keys, Sender: sender, Origin: s.origin,
		May: s.maySubscribe, See: s.seen, Prove: s.log.prove, Complete: s.log.signer.Complete,
		Stop:   s.stopFeed,
		Holder: atm.NewUUID(time.Now()), Rate: s.opts.Feed.Rate,
		Tried: s.installation.metrics.Tried, Log: s.opts.Log,
	}), nil
}

// origin is that of the n-th audit log of the journal.
func (s *Server) origin(n int) string {
	if n == 0 {
		return s.Name()
	}
	return fmt.Sprintf("%s/%d", s.Name(), n+1)
}

// maySubscribe returns feed.ErrNotAllowed when the owner of a subscription may not have what it is
// for at the moment: what counts is not what the owner could do when it was made.
func (s *Server) maySubscribe(ctx context.Context, owner string, sub *feeds.Subscription) error {
	reach := Permit(s.principal(owner), atm.FeedAdd)
	switch {
	case reach == atm.Nowhere, sub.Everything && reach != atm.Everywhere:
		return feed.ErrNotAllowed
	case sub.Everything:
		return nil
	}
	owns, err := s.teller.Owns(ctx, owner, vault.Name(sub.Filter.Account))
	if err == nil && !owns {
		err = feed.ErrNotAllowed
	}
	return err
}

// seen says what the owner of a subscription may see of an entry at the moment.
func (s *Server) seen(ctx context.Context, owner string, sub *feeds.Subscription, leaf []byte,
) (*feed.View, error) {
	if err := s.maySubscribe(ctx, owner, sub); err != nil {
		return nil, err
	}
	if sub.Everything {
		return &feed.View{Whole: true}, nil
	}
	slip, err := s.teller.Seen(ctx, s.principal(owner), leaf)
	if err != nil || slip == nil {
		return nil, err
	}
	return &feed.View{Whole: slip.Leaf != nil, Known: slip.Entry}, nil
}

// principal is a subject who does not call, with the roles that the subject has at the moment.
func (s *Server) principal(subject string) atm.Principal {
	roles, _ := s.rolesOf(subject)
	return atm.Principal{Subject: subject, Roles: roles}
}

// rolesOf are the roles of a subject that may sign in.
func (s *Server) rolesOf(subject string) ([]atm.Role, bool) {
	member, known := s.directory.Member(subject)
	return member.Roles, known
}

var errNotRecorded = errors.New("it could not be recorded")

// stopFeed records that a subscription is delivered no more.
func (s *Server) stopFeed(ctx context.Context, stopped feed.Stopped) error {
	status := events.FeedStopped(ctx, s.ledger, stopped.Owner, stopped.ID, stopped.Name,
		stopped.Reason)
	switch status.Code {
	case atm.OK:
		s.installation.metrics.Stopped(string(stopped.Cause))
		return nil
	case atm.FeedNotFound: // it was removed meanwhile
		return nil
	}
	return fmt.Errorf("%w: %s", errNotRecorded, status.Reason)
}
