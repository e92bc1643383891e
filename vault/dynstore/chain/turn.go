package chain

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// Programs that make changes at once take turns: one that has just made a change knows the newest
// head, and would be first again and again. So while another one makes changes, too, it waits for
// as long as that one needs for an attempt.

// A turn is when a program may make its next change.
type turn struct {
	tag   string // begins the ids of the changes that it makes
	next  time.Time
	sends time.Duration // how long its last transaction took
}

const (
	// turnsOf is how many changes, the last ones, are looked at for those of others.
	turnsOf = 8

	// tagDigits is the length of a tag, of 16 that an id has. Tags that are the same by chance
	// cost a turn, and nothing else.
	tagDigits = 4

	// maxTurn bounds a turn.
	maxTurn = 250 * time.Millisecond
)

// ends ends a turn with a change that was made here, in a transaction that took this long.
func (t *turn) ends(made *State, took time.Duration) {
	t.sends = took
	if slices.ContainsFunc(made.Recent[:min(len(made.Recent), turnsOf)], func(id string) bool {
		return !strings.HasPrefix(id, t.tag)
	}) {
		t.next = time.Now().Add(time.Duration(made.Turn) * time.Microsecond)
	}
}

// TurnAfter is the length of turns after an attempt on a state, which has decided after so long. It
// becomes shorter only slowly, because a slow program makes fewer changes.
func (c *Chain) TurnAfter(from *State, decided time.Duration) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(max((decided+c.turn.sends).Microseconds(), from.Turn-from.Turn/16),
		maxTurn.Microseconds())
}

// Turn waits until this program may make its next change, and returns the state to build it on;
// nil when it is to be read.
func (c *Chain) Turn(ctx context.Context) *State {
	c.mu.Lock()
	wait := time.Until(c.turn.next)
	c.mu.Unlock()
	if wait <= 0 {
		return c.After(nil) // nearly always nobody else has changed anything
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// After returns the newest state that is known, if it is a later one than a state; nil when it is
// to be read. A state with a change that is to be finished is: the records are not of it yet.
func (c *Chain) After(before *State) *State {
	newest := c.Newest()
	if newest == nil || newest.Staged != nil ||
		before != nil && newest.Version <= before.Version {
		return nil
	}
	return newest
}

// newID returns the id of a change.
func (c *Chain) newID() string {
	var id [12]byte
	rand.Read(id[:]) // never fails
	text := base64.RawURLEncoding.EncodeToString(id[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn.tag == "" {
		c.turn.tag = text[:tagDigits]
	}
	return c.turn.tag + text[tagDigits:]
}
