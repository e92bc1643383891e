package boltstore

import (
	"fmt"
	"sync"

	"example.com/atm/internal/durable"
)

// A flusher puts records on stable storage, in order. Whoever waits for one and
// finds nobody writing writes all that are there.
type flusher struct {
	mu      sync.Mutex
	changed sync.Cond // busy or err have changed
	waiting []*batch  // guarded by mu
	busy    bool      // guarded by mu; somebody is writing
	err     error     // guarded by mu; why nothing can be written any more
}

// add hands a batch over, whose place in the log is known.
func (f *flusher) add(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, b)
}

// wait waits until a batch is durable. After an error nobody knows whether it is.
func (f *flusher) wait(w *wal, b *batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !b.durable && f.err == nil {
		f.step(w)
	}
	if b.durable {
		return nil
	}
	return f.err
}

// step writes what waits, or waits for who is writing. The caller holds f.mu.
func (f *flusher) step(w *wal) {
	if f.busy {
		f.changed.Wait()
		return
	}
	group := f.waiting
	f.waiting, f.busy = nil, true
	f.mu.Unlock()
	err := w.store(group)
	f.mu.Lock()
	f.busy = false
	if err != nil {
		f.err = fmt.Errorf("write-ahead log: %w", err)
	}
	for _, b := range group {
		b.durable = err == nil
	}
	f.changed.Broadcast()
}

// settle waits until everything that was handed over is durable.
func (f *flusher) settle(w *wal) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for (f.busy || len(f.waiting) > 0) && f.err == nil {
		f.step(w)
	}
	return f.err
}

// store writes records, when all before them are durable, and syncs them together.
func (w *wal) store(group []*batch) error {
	for _, b := range group {
		w.finish(b, group[0].number-1)
		if b.grown > w.made[b.half] {
			begin := int64(walBlock + b.half*walHalf)
			if _, err := w.f.WriteAt(make([]byte, b.grown-w.made[b.half]), begin+w.made[b.half]); err != nil {
				return err
			}
			w.made[b.half] = b.grown
		}
		if _, err := w.f.WriteAt(b.record, b.at); err != nil {
			return err
		}
	}
	return durable.SyncData(w.f)
}
