package requestid_test

import (
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault/requestid"
)

func TestKeyFollowsFromTheEntryButForTheTime(t *testing.T) {
	minted := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	caller := callerOf("user:demo", "")
	hasher := newHasher(t, "the secret of a test")
	for _, tt := range []struct {
		id     atm.RequestID
		minted time.Time
	}{
		{"the first", time.Time{}},
		{atm.RequestID(atm.NewUUID(minted)), minted},
	} {
		stored := hasher.Hash(caller, tt.id)
		entry := &audit.Entry{Request: stored.Digest, Caller: caller, ReplayOf: -1}
		key, asked := requestid.KeyOf(entry)
		if !asked || key.Tail() != stored.Key.Tail() || !stored.Key.Answered(entry) {
			t.Errorf("%q: key %s, and %s by its entry", tt.id, stored.Key, key)
		}
		if dated := key != stored.Key; dated != !tt.minted.IsZero() {
			t.Errorf("%q: key %s has a time in it: %v", tt.id, stored.Key, dated)
		}
		if !stored.Minted.Equal(tt.minted) {
			t.Errorf("%q was minted at %v, want %v", tt.id, stored.Minted, tt.minted)
		}
		if !tt.minted.IsZero() && !stored.Key.Minted().Equal(tt.minted) {
			t.Errorf("key %s has time %v, want %v", stored.Key, stored.Key.Minted(), tt.minted)
		}
		entry.ReplayOf = 3
		if stored.Key.Answered(entry) {
			t.Errorf("%q was answered first by an entry that repeats an answer", tt.id)
		}
	}
}

func TestKeysOfOneIDDifferByCallerAndSecret(t *testing.T) {
	hasher, other := newHasher(t, "the secret of a test"), newHasher(t, "another secret")
	alice, bob := callerOf("user:alice", ""), callerOf("user:bob", "")
	forBob := callerOf("user:bob", "user:alice")
	seen := make(map[requestid.Key]bool)
	for _, key := range []requestid.Key{
		hasher.Hash(alice, "1").Key, hasher.Hash(bob, "1").Key, hasher.Hash(forBob, "1").Key,
		hasher.Hash(alice, "2").Key, other.Hash(alice, "1").Key,
	} {
		if seen[key] {
			t.Errorf("key %s is of two requests", key)
		}
		seen[key] = true
	}
	if !seen[hasher.Hash(alice, "1").Key] {
		t.Error("the key of a request is another one the second time")
	}
}

func callerOf(subject, actor string) *atm.Caller {
	return &atm.Caller{Principal: atm.Principal{Subject: subject, Actor: actor}}
}

func newHasher(t *testing.T, secret string) *requestid.Hasher {
	t.Helper()
	hasher, err := requestid.NewHasher([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}
