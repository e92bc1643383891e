package pgstore_test

import (
	"testing"
	"time"

	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
)

func TestOneReplicaAtATimeHasTheLeaseOfAWork(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	one, two := replica(t, url, "one"), replica(t, url, "two")
	step := func(when string, s *pgstore.Store, work string, want bool) {
		t.Helper()
		if has, err := s.Replicas.Lease(t.Context(), work, time.Hour); has != want || err != nil {
			t.Errorf("%s: %v, %v", when, has, err)
		}
	}
	step("nobody has it", one, "work", true)
	step("the other one has it", two, "work", false)
	step("it has it already", one, "work", true)
	step("another work", two, "other work", true)
	cluster.SQL(t, nameOf(url), "UPDATE leases SET until = clock_timestamp() WHERE work = 'work'")
	step("its time is over", two, "work", true)
	step("the other one took it", one, "work", false)
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	step("the other one has stopped", one, "work", true)
}
