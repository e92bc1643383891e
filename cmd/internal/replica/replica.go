// Package replica connects a server with its replicas, the servers that run on the same
// database.
//
// Each replica has a data folder of its own, with the same keys/vault.key. The other keys are
// in the database, sealed, and copied to the folder, from which the rest of the program reads
// them. Replicas communicate through the database alone.
package replica

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm/audit/publish"
	"example.com/atm/auth"
	"example.com/atm/auth/throttle"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/cmd/internal/roster"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/replicated"
)

// A Replica is one of the servers on a database.
type Replica struct {
	Store    replicated.Store
	Throttle *throttle.Throttle
	Joined   bool // this start created the folder for an existing installation

	log    *slog.Logger
	files  files
	local  Local
	ahead  atomic.Int64 // by how much the database's clock is ahead of this machine's
	news   news
	health health
}

// Local has the parts of this server that a replica keeps up to date.
type Local struct {
	Ledger    *ledger.Ledger
	Publisher *publish.Publisher
	Directory *auth.Directory
}

// news is the known state of the journal.
type news struct {
	mu      sync.Mutex         // held while the database is asked
	size    vault.JournalIndex // guarded by mu: known size of the journal
	learned time.Time          // guarded by mu: when the database was last asked
	renewed time.Time          // guarded by mu: when there was last a change

	// own is where the changes of this server begin that others may have followed; one more, so
	// that 0 is for none.
	own atomic.Int64
}

// health is the result of the last request to the database.
type health struct {
	mu    sync.Mutex
	err   error     // guarded by mu
	asked time.Time // guarded by mu
}

const (
	// followEvery is how often the database is asked for changes. A revocation takes effect on all
	// replicas within a second of its commit.
	followEvery = 250 * time.Millisecond

	// Silence is how long the database may be unreachable before the server reports that it is not
	// ready.
	Silence = 3 * time.Second

	// skew is by how much a clock may differ from the database's before the operator is told.
	skew = 2 * time.Second
)

// Now is the time by the database's clock, which all replicas share.
func (r *Replica) Now() time.Time {
	return time.Now().Add(time.Duration(r.ahead.Load()))
}

// UseKeys sets the keys that apply changes of other replicas.
func (r *Replica) UseKeys(k *keys.Keys) {
	r.files.mu.Lock()
	defer r.files.mu.Unlock()
	r.files.keys = k
}

// Attach sets the parts to keep up to date. Call it before Follow and Refresh.
func (r *Replica) Attach(local Local) { r.local = local }

// Follow applies changes of other replicas until ctx is done: users, revocations, keys in
// force, and new entries to publish.
func (r *Replica) Follow(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		r.learn(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ShareFailures exchanges failed sign-ins between the throttles of the replicas, and deletes
// expired records.
func (r *Replica) ShareFailures(ctx context.Context) {
	tick, tidy := time.NewTicker(followEvery), time.NewTicker(tidyEvery)
	defer tick.Stop()
	defer tidy.Stop()
	var replica [8]byte
	rand.Read(replica[:])            // never fails
	total := make(map[string]int64)  // of this replica, by source
	others := make(map[string]int64) // of the other replicas, by replica and source
	told := make(map[string]int64)   // changes to send
	r.Throttle.TakeFailures()        // begins the count
	for {
		select {
		case <-tick.C:
		case <-tidy.C:
			if err := r.Store.Tidy(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("tidying the database", slog.Any("error", err))
			}
			// sources that are dropped are counted from zero again
			if len(total)+len(others) > maxSources {
				rand.Read(replica[:])
				clear(total)
				clear(others)
			}
			continue
		case <-ctx.Done():
			return
		}
		for source, n := range r.Throttle.TakeFailures() {
			total[source] += n
			told[source] = total[source]
		}
		grown, err := r.Store.ShareFailures(ctx, replica[:], told, others)
		if err != nil {
			continue // it is sent again next time; Follow reports what is wrong
		}
		clear(told)
		r.Throttle.AddFailures(grown)
	}
}

const (
	// tidyEvery is how often expired records are deleted from the database.
	tidyEvery = 10 * time.Second

	// maxSources bounds the sources of failed sign-ins that a replica counts for the others.
	maxSources = 100_000
)

// Refresh applies changes that other replicas have made until now, and reports whether there
// was one a moment ago. It is called before a sign-in is refused, so strangers can cause calls.
// Therefore the database is asked at most once in each refreshRest.
func (r *Replica) Refresh(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, Silence)
	defer cancel()
	r.learn(ctx, time.Now())
	r.news.mu.Lock()
	defer r.news.mu.Unlock()
	return time.Since(r.news.renewed) < attempt
}

// attempt is how long a sign-in may take. A change within this time may have come after the
// sign-in was decided.
const attempt = time.Second

// refreshRest is the shortest time between two requests to the database.
const refreshRest = 20 * time.Millisecond

// learn asks the database for changes, unless it was asked after since.
func (r *Replica) learn(ctx context.Context, since time.Time) {
	r.news.mu.Lock()
	defer r.news.mu.Unlock()
	if !r.news.learned.After(since) {
		select {
		case <-time.After(refreshRest - time.Since(r.news.learned)):
		case <-ctx.Done():
			return
		}
		r.ask(ctx)
	}
}

// Committed is told of a commit of this server, after its changes were applied. What another
// server changed after it may have been applied before, and is asked for once more.
func (r *Replica) Committed(c ledger.Commit) {
	if len(c.Users)+len(c.Revocations) > 0 {
		r.news.own.CompareAndSwap(0, int64(c.First)+1) // commits come in order
	}
}

// ask asks the database for changes. The caller holds news.mu.
func (r *Replica) ask(ctx context.Context) {
	begun, since, own := time.Now(), r.news.size, r.news.own.Swap(0)
	if own > 0 {
		since = min(since, vault.JournalIndex(own-1))
	}
	news, err := r.Store.Since(ctx, since)
	if own > 0 && (err != nil || ctx.Err() != nil) {
		r.news.own.Store(own)
	}
	if ctx.Err() != nil {
		return
	}
	if failed := r.health.note(err); failed != (err != nil) {
		r.log.Warn("following the other replicas", slog.Any("error", err))
	}
	if errors.Is(err, replicated.ErrRolledBack) || errors.Is(err, replicated.ErrFenced) {
		r.local.Ledger.Fail(err)
	}
	if err != nil {
		return
	}
	r.news.learned = begun
	roster.Learn(r.local.Directory, news.Users, news.Revocations)
	if news.Size != r.news.size {
		r.news.size, r.news.renewed = news.Size, time.Now()
		r.local.Publisher.Committed()
	}
	was := time.Duration(r.ahead.Swap(int64(news.Ahead))).Abs() > skew
	if is := news.Ahead.Abs() > skew; is != was {
		r.log.Warn("the clock of this machine against that of the database, which counts",
			slog.Duration("behind", news.Ahead), slog.Bool("too_far", is))
	}
}

// note records the result of a request to the database, and returns whether the one before it
// failed.
func (h *health) note(err error) (failed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	failed = h.err != nil
	h.err, h.asked = err, time.Now()
	return failed
}

// Ready returns an error if the database is unreachable.
func (r *Replica) Ready() error {
	if err := r.Store.Trouble(); err != nil {
		return err
	}
	r.health.mu.Lock()
	defer r.health.mu.Unlock()
	switch quiet := time.Since(r.health.asked); {
	case r.health.err != nil:
		return r.health.err
	case r.health.asked.IsZero():
		return errors.New("the database has not been asked yet")
	case quiet > Silence:
		return fmt.Errorf("the database has said nothing for %s", quiet.Round(time.Second))
	}
	return nil
}
