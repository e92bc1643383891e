package publish

import (
	"sync"
	"time"
)

const (
	// patience is how old what is not published yet may be before commits wait for the
	// publisher: each waits for a tenth of what it is older than that, and for mostYield
	// at most. It is a little longer than the backlog gets when both keep up.
	patience  = 600 * time.Millisecond
	mostYield = 20 * time.Millisecond
)

// A backlog knows how long committed entries have been waiting to be published.
type backlog struct {
	committed chan struct{} // holds a token when something was committed since a round began

	mu  sync.Mutex
	err error // guarded by mu; of the last round

	// waiting is when the oldest entry was committed that no round has begun with; zero
	// for none.
	waiting time.Time // guarded by mu

	// taken is the same for the entries that the round under way, or one that failed,
	// began with.
	taken time.Time // guarded by mu
}

// grew notes that something was committed.
func (b *backlog) grew() {
	b.mu.Lock()
	if b.waiting.IsZero() {
		b.waiting = time.Now()
	}
	b.mu.Unlock()
	select {
	case b.committed <- struct{}{}:
	default: // the publisher knows already
	}
}

// take notes that a round begins.
func (b *backlog) take() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken.IsZero() {
		b.taken = b.waiting
	}
	b.waiting = time.Time{}
}

// done notes how a round ended.
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

// wait is how long a commit waits for the publisher.
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
