package check

import (
	"cmp"
	"slices"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/history"
	"example.com/atm/vault/requestid"
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

	asked []vault.KeptRequest // that lead to entries which were not read yet, in order of these
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

// A Chunk is a chunk of the journal whose entries are hashed and parsed.
type Chunk struct {
	first   vault.JournalIndex
	entries []parsedEntry
}

type parsedEntry struct {
	stored chunk.Entry
	hash   merkle.Hash
	entry  *audit.Entry
	err    error
}

// Parse hashes and parses the entries of a chunk, of which the first one has this index. It needs
// nothing of the chunks before, so that many can be parsed at once.
func Parse(first vault.JournalIndex, entries []chunk.Entry) *Chunk {
	c := &Chunk{first, make([]parsedEntry, len(entries))}
	for i, e := range entries {
		p := &c.entries[i]
		p.stored, p.hash = e, merkle.LeafHash(e.Leaf)
		p.entry, p.err = audit.ParseEntry(e.Leaf)
	}
	return c
}

// Read goes on with the next chunk.
func (j *Journal) Read(c *Chunk) {
	first, entries := c.first, c.entries
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
	for i := range entries {
		p, index := &entries[i], j.Size
		j.Size++
		if index >= j.log {
			j.hashes = append(j.hashes, p.hash)
		}
		if len(j.hashes) == 4096 {
			j.tree, j.hashes = j.tree.Append(j.hashes...), j.hashes[:0]
		}
		j.answers(index, p.entry, p.err)
		if p.err != nil {
			j.problems.Add("journal entry %d: %v", index, p.err)
			continue
		}
		j.entry(index, p.entry, p.stored)
	}
}

// Asked has the journal hold request ids against the entries that they lead to, when those are
// read. It takes the list, and puts it in the order of these.
func (j *Journal) Asked(requests []vault.KeptRequest) {
	slices.SortFunc(requests, func(a, b vault.KeptRequest) int {
		return cmp.Compare(a.Index, b.Index)
	})
	j.asked = requests
}

// answers holds the request ids that lead to an entry against it. Those before it lead to nothing.
func (j *Journal) answers(index vault.JournalIndex, entry *audit.Entry, err error) {
	for len(j.asked) > 0 && j.asked[0].Index <= index {
		if r := &j.asked[0]; r.Index < index {
			j.problems.missing(r)
		} else {
			j.problems.Answer(r, entry, err)
		}
		j.asked = j.asked[1:]
	}
}

// Answer holds a request id against the entry that it leads to, which may be one that cannot be
// read.
func (p *Problems) Answer(r *vault.KeptRequest, entry *audit.Entry, err error) {
	switch {
	case err != nil:
		p.Add("request id %s: journal entry %d: %v", r.Key, r.Index, err)
	case !r.Key.Answered(entry) || requestid.Day(entry.Time) != r.Day:
		p.Add("request id %s: journal entry %d is not the answer to it", r.Key, r.Index)
	}
}

func (p *Problems) missing(r *vault.KeptRequest) {
	p.Add("request id %s: journal entry %d: it is missing", r.Key, r.Index)
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
	for i := range j.asked {
		j.problems.missing(&j.asked[i])
	}
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
