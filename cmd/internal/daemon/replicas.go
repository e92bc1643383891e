package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/atm/vault/pgstore"
)

// How a replica learns what the others did, and tells them what they have to know.

// followReplicas learns what other replicas did: who became known, what was
// revoked, which keys are in force, and that there is something to publish.
func (h *Server) followReplicas(ctx context.Context) {
	tick := time.NewTicker(replicasEvery)
	defer tick.Stop()
	for {
		h.learn(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// shareFailures tells the throttles of the replicas of failed sign-ins, and deletes
// what none of them needs any more.
func (h *Server) shareFailures(ctx context.Context) {
	tick, tidy := time.NewTicker(replicasEvery), time.NewTicker(tidyEvery)
	defer tick.Stop()
	defer tidy.Stop()
	var replica [8]byte
	rand.Read(replica[:])            // never fails
	total := make(map[string]int64)  // of this replica, by source
	others := make(map[string]int64) // of the others, by replica and source
	told := make(map[string]int64)   // what has to be told
	h.shared.throttle.News()         // begins the count
	for {
		select {
		case <-tick.C:
		case <-tidy.C:
			if err := h.shared.store.Tidy(ctx); err != nil && ctx.Err() == nil {
				h.opts.Log.Warn("tidying the database", slog.Any("error", err))
			}
			// what is forgotten is counted from nothing again
			if len(total)+len(others) > maxSources {
				rand.Read(replica[:])
				clear(total)
				clear(others)
			}
			continue
		case <-ctx.Done():
			return
		}
		for source, n := range h.shared.throttle.News() {
			total[source] += n
			told[source] = total[source]
		}
		grown, err := h.shared.store.Share(ctx, replica[:], told, others)
		if err != nil {
			continue // told again next time; the follower says what is wrong
		}
		clear(told)
		h.shared.throttle.Heard(grown)
	}
}

const (
	// tidyEvery is how often the database is rid of what nobody needs.
	tidyEvery = 10 * time.Second

	// maxSources bounds the sources of failed sign-ins that a replica keeps count
	// of, for the others.
	maxSources = 100_000
)

// refresh learns what other replicas did until now, and reports whether there was
// something new a moment ago. It is asked before somebody is refused, and so by whoever likes
// to: the database is not asked more often for it than it bears.
func (h *Server) refresh(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	h.learn(ctx, time.Now())
	h.shared.learning.Lock()
	defer h.shared.learning.Unlock()
	return time.Since(h.shared.renewed) < attempt
}

// attempt is how long ago somebody who is about to be refused may have been looked
// up: what was learned since then they have not had the benefit of.
const attempt = time.Second

// refreshRest is how long the database is left alone after it was asked.
const refreshRest = 20 * time.Millisecond

// learn asks the database for news, unless it was asked since.
func (h *Server) learn(ctx context.Context, since time.Time) {
	s := h.shared
	s.learning.Lock()
	defer s.learning.Unlock()
	if !s.learned.After(since) {
		select {
		case <-time.After(refreshRest - time.Since(s.learned)):
		case <-ctx.Done():
			return
		}
		h.ask(ctx)
	}
}

// ask asks the database for news. The caller holds learning.
func (h *Server) ask(ctx context.Context) {
	s := h.shared
	begun := time.Now()
	news, err := s.store.Since(ctx, s.size)
	if ctx.Err() != nil {
		return
	}
	if failed := s.heard(err); failed != (err != nil) {
		h.opts.Log.Warn("following the other replicas", slog.Any("error", err))
	}
	if errors.Is(err, pgstore.ErrRolledBack) || errors.Is(err, pgstore.ErrFenced) {
		h.ledger.Fail(err)
	}
	if err != nil {
		return
	}
	s.learned = begun
	h.admit(news.Users)
	h.revoke(news.Revocations)
	if news.Size != s.size {
		s.size, s.renewed = news.Size, time.Now()
		h.publisher.Committed()
	}
	was := time.Duration(s.ahead.Swap(int64(news.Ahead))).Abs() > skew
	if is := news.Ahead.Abs() > skew; is != was {
		h.opts.Log.Warn("the clock of this machine against that of the database, which counts",
			slog.Duration("behind", news.Ahead), slog.Bool("too_far", is))
	}
}

// heard notes how a look at the database went, and returns whether the last one
// failed.
func (s *shared) heard(err error) (failed bool) {
	s.state.Lock()
	defer s.state.Unlock()
	failed = s.err != nil
	s.err, s.asked = err, time.Now()
	return failed
}

// ready reports what is wrong with the database.
func (s *shared) ready() error {
	if err := s.store.Trouble(); err != nil {
		return err
	}
	s.state.Lock()
	defer s.state.Unlock()
	switch quiet := time.Since(s.asked); {
	case s.err != nil:
		return s.err
	case s.asked.IsZero():
		return errors.New("the database has not been asked yet")
	case quiet > silence:
		return fmt.Errorf("the database has said nothing for %s", quiet.Round(time.Second))
	}
	return nil
}
