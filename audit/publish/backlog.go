package publish

import (
	"sync"
	"time"
)

const (
	// patience is the age of the oldest unpublished entry from which commits wait for the
	// publisher. Each commit waits for a tenth of the excess, and for at most mostYield. patience
	// is a little longer than the backlog gets while both keep up.
	patience  = 600 * time.Millisecond
	mostYield = 20 * time.Millisecond
)

// A backlog measures how long committed entries have been waiting to be published.
type backlog struct {
	committed chan struct{} // has a token if something was committed since the last round began

	mu  sync.Mutex
	err error // guarded by mu; of the last round

	// waiting is the commit time of the oldest entry that no round has begun to publish. Zero if
	// there is none.
	waiting time.Time // guarded by mu

	// taken is the commit time of the oldest entry in the current round, or in one that failed.
	taken time.Time // guarded by mu
}

// grew records a commit.
func (b *backlog) grew() {
	b.mu.Lock()
	if b.waiting.IsZero() {
		b.waiting = time.Now()
	}
	b.mu.Unlock()
	select {
	case b.committed <- struct{}{}:
	default: // there is a token already
	}
}

// take records that a round begins.
func (b *backlog) take() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken.IsZero() {
		b.taken = b.waiting
	}
	b.waiting = time.Time{}
}

// done records how a round ended.
func (b *backlog) done(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err = err; err == nil {
		b.taken = time.Time{}
	}
}

// failure is the error of the last round.
func (b *backlog) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// wait is how long a commit must wait for the publisher.
func (b *backlog) wait() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	oldest := b.taken
	if oldest.IsZero() {
		oldest = b.waiting
	}
	if oldest.IsZero() || b.err != nil {
		return 0
	}
	return min((time.Since(oldest)-patience)/10, mostYield)
}
