package feed_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"example.com/atm/feed"
	"example.com/atm/feed/webhook"
	"example.com/atm/vault/feeds"
)

// TestSecretOfASourceBeforeTheLastIsGoodForADay opens webhooks that were signed with each secret
// that a source has had, before and after the newest one is a day old.
func TestSecretOfASourceBeforeTheLastIsGoodForADay(t *testing.T) {
	secrets, err := feeds.NewSecrets(secret)
	if err != nil {
		t.Fatal(err)
	}
	keys := feed.NewKeys(secrets, func(string) error { return nil })
	rotated := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	source := feeds.Source{ID: 7, Name: "notices", Generation: 2, Rotated: rotated}
	other := feeds.Source{ID: 8, Name: "notices", Generation: 2, Rotated: rotated}
	for _, tt := range []struct {
		name       string
		generation uint64
		since      time.Duration
		good       bool
	}{
		{"the newest, at once", 2, 0, true},
		{"the newest, later", 2, 1000 * time.Hour, true},
		{"the one before, at once", 1, 0, true},
		{"the one before, nearly a day later", 1, 24*time.Hour - time.Second, true},
		{"the one before, a day later", 1, 24 * time.Hour, false},
		{"the one before that", 0, 0, false},
		{"the next one", 3, 0, false},
	} {
		now := rotated.Add(tt.since)
		signing := secrets.Of("source f7 service:tax", tt.generation)
		body, header := []byte(`{"account": 100, "text": "x"}`), make(http.Header)
		err := webhook.Sign(header, "msg_1", now, body, webhook.NewKey(signing.HMAC, signing.Ed25519))
		if err != nil {
			t.Fatal(err)
		}
		id, err := keys.Open("service:tax", &source, header, body, now)
		if tt.good != (err == nil) || tt.good && id != "msg_1" {
			t.Errorf("%s: %q, %v", tt.name, id, err)
		}
		for owner, s := range map[string]*feeds.Source{
			"service:tax": &other, "service:gas": &source,
		} {
			_, err := keys.Open(owner, s, header, body, now)
			if !errors.Is(err, webhook.ErrSignature) {
				t.Errorf("%s, for source %s of %s: %v", tt.name, s.ID, owner, err)
			}
		}
	}
}
