package boltstore

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/days"
	"example.com/atm/vault/boltstore/journal"
	"example.com/atm/vault/boltstore/shelf"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/history"
	"example.com/atm/vault/record"
	"example.com/atm/vault/requestid"
)

// load reads the records that keys name. What it returns does not point into the file, because
// decide changes it. What was signed last and the days with request ids come from the commits
// before. The spines belong to the accounts that were loaded.
func (v view) load(keys vault.Keys, last *signed, kept []days.Day) (*vault.Books, spines) {
	l := vault.Loaded{
		Head: last.head, Checkpoint: last.checkpoint, Logs: last.logs, History: v.history,
	}
	spines := make(spines, len(keys.Accounts)/2+1)
	for _, kind := range slices.Backward(kinds) { // the accounts come last: holds name more
		kind.load(v, &keys, &l, spines)
	}
	l.Requests = v.loadRequests(keys.Requests, kept)
	return vault.NewBooks(keys, l), spines
}

// account returns an account and its spine. One that does not exist has version 0.
func (v view) account(name vault.Name) (vault.Account, chunk.Spine, error) {
	k := codec.AccountKey(name)
	value, err := v.shelf(bucketAccounts).Get(k)
	if value == nil {
		return vault.Account{Name: name}, nil, err
	}
	return codec.DecodeAccount(k, value)
}

// eachAccount calls yield with the accounts of bbolt itself, when there are no
// memtables.
func (v view) eachAccount(yield func(*vault.Account, chunk.Spine) error) error {
	shelf := v.shelf(bucketAccounts)
	return shelf.Each(func(k, sealed []byte) error {
		a, spine, err := openAccount(shelf, k, sealed)
		if err != nil {
			return err
		}
		return yield(&a, spine)
	})
}

// account opens the record of an account.
func openAccount(s shelf.Shelf, k, sealed []byte) (vault.Account, chunk.Spine, error) {
	v, err := s.Open(k, sealed)
	if err != nil {
		return vault.Account{}, nil, err
	}
	return codec.DecodeAccount(k, v)
}

// loadRequests looks each key up in every day that is still kept.
func (v view) loadRequests(keys []requestid.Key, kept []days.Day) (
	l record.Loaded[requestid.Key, vault.Remembered],
) {
	if len(keys) == 0 {
		return l
	}
	l.Found = make(map[requestid.Key]*vault.Remembered)
	journal, filed := v.journal(), v.file.Bucket(bucketRequests).Cursor()
	oldest := days.Oldest(v.engine.now)
	for _, key := range keys {
		for _, day := range kept {
			if day.Number < oldest {
				break // about to be swept away
			}
			if bytes.Compare(key[:], day.Last[:]) > 0 {
				continue // as most ids that are new, and tell their time
			}
			index, kept, err := v.request(filed, codec.NewRequest(day.Number, key))
			if !kept && err == nil {
				continue
			}
			if err == nil && index < v.engine.base.Load().Index {
				l.Found[key] = &vault.Remembered{Index: index}
				break
			}
			var e chunk.Entry
			if err == nil {
				e, err = journal.At(index)
			}
			if err != nil {
				l.Note(key, fmt.Errorf("of day %d: %w", day.Number, err))
				break
			}
			l.Found[key] = &vault.Remembered{Index: index, Leaf: bytes.Clone(e.Leaf)}
			break
		}
	}
	return l
}

// write puts the changes of one commit where they belong. Nothing is written
// twice: a request id points to its entry, the tree is its right edge.
func (v view) write(now time.Time, c *vault.Changes, spines spines) error {
	err := c.Follow(func(n vault.Name) (uint64, bool) {
		s, loaded := spines[n]
		return s.Version, loaded
	})
	if err != nil {
		return err
	}
	if err := v.writeRecords(c, spines); err != nil {
		return err
	}
	today := days.Of(now)
	for _, r := range c.Requests {
		if err := v.putRequest(codec.NewRequest(today, r.Key), r.Index); err != nil {
			return err
		}
	}
	return v.writeHead(c.Checkpoint, c.Head)
}

// putRequest notes which entry answered a request id.
func (v view) putRequest(key codec.Request, index vault.JournalIndex) error {
	if v.batch != nil {
		v.batch.PutRequest(key, index)
		return nil
	}
	kept := key // which the vault keeps
	return v.shelf(bucketRequests).Put(kept[:], codec.JournalKey(index))
}

// writeRecords is write without the request ids and the head.
func (v view) writeRecords(c *vault.Changes, spines spines) error {
	entries := journal.NewWriter(v.shelf(bucketJournal), v.engine.chunks)
	var links []chunk.Link
	for i := range c.Entries {
		entry, index := &c.Entries[i], c.First+vault.JournalIndex(i)
		links = history.Links(spines, index, entry.Touched, links)
		if err := entries.Append(index, links, entry.Leaf); err != nil {
			return err
		}
		if v.batch != nil {
			v.batch.AddLeaf(entry.Leaf)
		}
	}
	if err := entries.Flush(); err != nil {
		return err
	}
	v.engine.chunks = entries.Builder
	for _, kind := range kinds {
		if err := kind.write(v, &c.Records, spines); err != nil {
			return err
		}
	}
	return nil
}

func (v view) readLogs() ([]vault.JournalIndex, error) {
	value, err := v.shelf(bucketMeta).Get(keyLogs)
	if err != nil {
		return nil, err
	}
	if value == nil {
		return []vault.JournalIndex{0}, nil
	}
	return codec.DecodeLogs(value)
}

func (v view) writeLogs(logs []vault.JournalIndex) error {
	return v.shelf(bucketMeta).Put(keyLogs, codec.EncodeLogs(logs))
}

func (v view) readHead() ([]byte, merkle.Head, error) {
	meta := v.shelf(bucketMeta)
	value, err := meta.Get(keyHead)
	if value == nil || err != nil {
		return nil, merkle.Head{}, err // without an error nothing has been committed yet
	}
	head, err := merkle.UnmarshalHead(value)
	if err != nil {
		return nil, merkle.Head{}, fmt.Errorf("head of the audit tree: %w", err)
	}
	checkpoint, err := meta.Get(keyCheckpoint)
	return checkpoint, head, err
}

func (v view) writeHead(checkpoint []byte, head merkle.Head) error {
	value, err := head.MarshalBinary()
	if err != nil {
		return err
	}
	meta := v.shelf(bucketMeta)
	if err := meta.Put(keyHead, value); err != nil {
		return err
	}
	return meta.Put(keyCheckpoint, checkpoint)
}
