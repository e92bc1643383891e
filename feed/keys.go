package feed

import (
	"net/http"
	"time"

	"example.com/atm/feed/webhook"
	"example.com/atm/vault/feeds"
)

// Keys are what events are signed with, and which URLs they go to.
type Keys struct {
	secrets *feeds.Secrets
	check   func(url string) error
}

// NewKeys returns the keys of the secrets. check refuses a URL that nothing can be sent to.
func NewKeys(secrets *feeds.Secrets, check func(url string) error) *Keys {
	return &Keys{secrets, check}
}

// CheckURL refuses a URL that nothing can be sent to.
func (k *Keys) CheckURL(url string) error { return k.check(url) }

// Secret tells what the events of a subscription are signed with: the secret of v1, and the public
// key of v1a.
func (k *Keys) Secret(owner string, s *feeds.Subscription) (secret, public string) {
	key := k.key(owner, s, s.Generation)
	return key.Secret(), key.Public()
}

// signers returns the keys that sign now, the newest first. Those of the newest generations are
// kept, because making one takes as long as signing.
func (l *line) signers(k *Keys, now time.Time) []webhook.Key {
	s := &l.sub
	if l.keys == nil || l.generation != s.Generation {
		l.generation, l.keys = s.Generation, []webhook.Key{k.key(l.owner, s, s.Generation)}
		if s.Generation > 0 {
			l.keys = append(l.keys, k.key(l.owner, s, s.Generation-1))
		}
	}
	if now.Sub(s.Rotated) < feeds.Overlap {
		return l.keys
	}
	return l.keys[:1]
}

// key is that of a generation. It depends on the owner as well: after an older vault was restored
// an id may be somebody else's.
func (k *Keys) key(owner string, s *feeds.Subscription, generation uint64) webhook.Key {
	secret := k.secrets.Of(s.ID.String()+" "+owner, generation)
	return webhook.NewKey(secret.HMAC, secret.Ed25519)
}

// SourceSecret tells what the webhooks of a source are signed with.
func (k *Keys) SourceSecret(owner string, s *feeds.Source) string {
	return k.ofSource(owner, s, s.Generation).Secret()
}

// Open verifies a webhook that arrived from a source, and returns its id.
func (k *Keys) Open(owner string, s *feeds.Source, h http.Header, body []byte, now time.Time) (
	id string, err error,
) {
	good := []webhook.Verifier{k.verifier(owner, s, s.Generation)}
	if s.Generation > 0 && now.Sub(s.Rotated) < feeds.Overlap {
		good = append(good, k.verifier(owner, s, s.Generation-1))
	}
	received, err := webhook.Verify(h, body, now, good...)
	return received.ID, err
}

func (k *Keys) verifier(owner string, s *feeds.Source, generation uint64) webhook.Verifier {
	v, err := webhook.ParseVerifier(k.ofSource(owner, s, generation).Secret())
	if err != nil { // it has the form that is read
		panic(err)
	}
	return v
}

func (k *Keys) ofSource(owner string, s *feeds.Source, generation uint64) webhook.Key {
	secret := k.secrets.Of("source "+s.ID.String()+" "+owner, generation)
	return webhook.NewKey(secret.HMAC, secret.Ed25519)
}
