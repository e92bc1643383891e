package dynstore_test

import (
	"testing"
	"time"

	"example.com/atm/vault/dynstore"
	"example.com/atm/vault/dynstore/dyntest"
)

// TestFailuresOfOneReplicaReachTheOther tells of failures by names that are no text, as they came.
func TestFailuresOfOneReplicaReachTheOther(t *testing.T) {
	t.Parallel()
	url := dyntest.Shared(t).Table()
	one, other := create(t, url), create(t, url)
	source := "192.0.2.1 \x00\xff\xc3"
	seen := make(map[string]int64)
	for n := int64(1); n < 4; n++ {
		if _, err := one.ShareFailures(t.Context(), []byte("one"), map[string]int64{source: 10 * n},
			make(map[string]int64)); err != nil {
			t.Fatal(err)
		}
		grown, err := other.ShareFailures(t.Context(), []byte("other"), nil, seen)
		if err != nil || len(grown) != 1 || grown[source] != 10 {
			t.Errorf("told of %v, %v", grown, err)
		}
	}
}

// TestWorkAndNoncesBelongToOneReplica takes a lease and uses a nonce on two replicas in turn.
func TestWorkAndNoncesBelongToOneReplica(t *testing.T) {
	t.Parallel()
	url := dyntest.Shared(t).Table()
	create(t, url)
	one, other := join(t, url, "one"), join(t, url, "other")
	for _, tt := range []struct {
		store        *dynstore.Store
		count        uint64
		lease, first bool
	}{
		{one, 1, true, true},
		{other, 1, false, false},
		{other, 2, false, true},
		{one, 2, true, false},
	} {
		has, err := tt.store.Lease(t.Context(), "work", time.Minute)
		if has != tt.lease || err != nil {
			t.Errorf("the lease: %v, %v; want %v", has, err, tt.lease)
		}
		first, err := tt.store.Spend(t.Context(), "nonce", tt.count, time.Now())
		if first != tt.first || err != nil {
			t.Errorf("count %d: %v, %v; want %v", tt.count, first, err, tt.first)
		}
	}
	if err := one.Tidy(t.Context()); err != nil {
		t.Error(err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if has, err := other.Lease(t.Context(), "work", time.Minute); !has || err != nil {
		t.Errorf("the work of a replica that has stopped: %v, %v", has, err)
	}
}

// join opens the books as a replica.
func join(t *testing.T, url, name string) *dynstore.Store {
	t.Helper()
	s, err := dynstore.Open(t.Context(), dynstore.Config{URL: url, Secret: secret, Replica: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
