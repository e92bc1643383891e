package check

import (
	"slices"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/history"
)

// A Journal is a journal that is read from its base on, chunk by chunk: that no entry is missing,
// that the tree which was signed is of it, that the chains of versions hold and that their links
// lead where they should.
type Journal struct {
	Chains *Chains
	Begin  vault.JournalIndex // the journal was trimmed behind it
	Size   vault.JournalIndex // of what was read

	problems *Problems
	spines   history.Spines
	log      vault.JournalIndex // where the current audit log begins
	tree     merkle.Head        // of that log, as far as it was read
	hashes   []merkle.Hash      // of the entries since tree
}

// NewJournal returns a journal that begins at a base and has had these logs, of which nothing was
// read yet.
func NewJournal(problems *Problems, base vault.Base, logs []vault.JournalIndex) *Journal {
	j := &Journal{
		Chains: NewChains(problems, base.Index > 0), Begin: base.Index, Size: base.Index,
		problems: problems, spines: make(history.Spines), log: logs[len(logs)-1],
	}
	j.tree = base.Tree(j.log)
	return j
}

// Read goes on with the chunk that has these entries, of which the first one has this index.
func (j *Journal) Read(first vault.JournalIndex, entries []chunk.Entry) {
	if last := first + vault.JournalIndex(len(entries)); last <= j.Begin {
		return // about to be removed
	}
	if first < j.Begin && j.Size == j.Begin {
		first, entries = j.Begin, entries[j.Begin-first:]
	}
	if first != j.Size {
		j.problems.Add("journal: entry %d where entry %d should be", first, j.Size)
		j.Size = first
	}
	leaves := make([][]byte, len(entries))
	for i, e := range entries {
		leaves[i] = e.Leaf
	}
	parsed, errs := audit.ParseEntries(leaves)
	for i, e := range entries {
		index := j.Size
		j.Size++
		if index >= j.log {
			j.hashes = append(j.hashes, merkle.LeafHash(e.Leaf))
		}
		if len(j.hashes) == 4096 {
			j.tree, j.hashes = j.tree.Append(j.hashes...), j.hashes[:0]
		}
		if errs[i] != nil {
			j.problems.Add("journal entry %d: %v", index, errs[i])
			continue
		}
		j.entry(index, parsed[i], e)
	}
}

// entry carries the chains on by what an entry changed.
func (j *Journal) entry(index vault.JournalIndex, entry *audit.Entry, stored chunk.Entry) {
	if stored.Links != len(entry.State) {
		j.problems.Add("journal entry %d touches %d accounts and has links for %d", index,
			len(entry.State), stored.Links)
		return
	}
	j.Chains.Entry(index, entry)
	for slot, change := range entry.State {
		name := vault.Name(change.Account)
		var want chunk.Link
		if j.Begin > 0 || change.Version == 1 || len(j.spines[name].Places) > 0 {
			want = j.spines.Grow(name, change.Version, chunk.Place{Index: int64(index), Slot: slot})
		}
		if stored.Link(int64(index), slot).Since(int64(j.Begin)) != want {
			j.problems.Add("journal entry %d: the links of account %s lead astray", index, name)
		}
	}
}

// End holds what was read against what was signed: logs are where audit logs began.
func (j *Journal) End(logs []vault.JournalIndex, checkpoint []byte, head merkle.Head) {
	j.tree = j.tree.Append(j.hashes...)
	switch {
	case vault.JournalEnd(logs, head) != j.Size:
		j.problems.Add("the signed tree has %d entries, the journal %d", head.Size, j.Size-j.log)
	case !slices.Equal(head.Edge, j.tree.Edge):
		j.problems.Add("the signed tree is not that of the journal")
	}
	if (len(checkpoint) > 0) != (head.Size > 0) {
		j.problems.Add("the checkpoint is missing")
	}
}

// Account holds the record of an account, and its spine, against the journal that was read to its
// end, and its pending holds against their own records, which hold finds.
func (j *Journal) Account(a *vault.Account, spine chunk.Spine,
	hold func(vault.HoldID) (vault.Hold, error),
) {
	if !j.Chains.Account(a) {
		return
	}
	if !slices.Equal(j.spines.Of(a.Name, a.Version), spine.Since(int64(j.Begin))) {
		j.problems.Add("account %s: its history leads astray", a.Name)
	}
	j.Chains.Pending(a, hold)
}
