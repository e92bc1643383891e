package replay

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
)

// A Restored is what a snapshot and the entries after it come to.
type Restored struct {
	vault.Records
	Requests []vault.KeptRequest

	// Anew says, a line each, what neither the snapshot nor an entry has, and what somebody has to
	// make anew: secrets, grants, names.
	Anew []string
}

// A Restorer works out what a store held, from a snapshot and the entries of the audit log after
// it. Everything that an entry says counts; what an entry has no more than a hash of is taken from
// the snapshot if it has not changed since.
type Restorer struct {
	replayer *vault.Replayer
	given    *reversed
	records  *records
	rules    Rules
	snapshot vault.Records
	secrets  map[string]bool // of users, that were set after the snapshot
	wrong    []string
}

// NewRestorer returns a restorer that has learnt what rules.Snapshot has. Audit logs began at
// these indexes of the journal.
func NewRestorer(ctx context.Context, rules Rules, logs []vault.JournalIndex) (*Restorer, error) {
	r := &Restorer{
		replayer: vault.NewReplayer(logs), given: newReversed(logs), rules: rules,
		secrets: make(map[string]bool),
	}
	r.records = newRecords(rules, logs, r.replayer, check.NewProblems(func(problem string) {
		r.wrong = append(r.wrong, problem)
	}))
	_, err := rules.Snapshot.Dump(ctx, func(p *vault.Part) error {
		r.replayer.Begin(&p.Records, rules.Holders)
		r.given.begin(p)
		r.records.begin(p)
		r.snapshot.Add(&p.Records)
		return nil
	})
	return r, err
}

// Entry learns what the next entry says. An error says that the rules do not confirm it.
func (r *Restorer) Entry(index vault.JournalIndex, leaf []byte) error {
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return fmt.Errorf("entry %d: %w", index, err)
	}
	r.records.entry(index, entry, answerOf(entry))
	if entry.Operation == atm.UserAdd && entry.Status != nil && entry.Status.Code == atm.OK {
		for _, a := range entry.Args {
			if a.Name == "subject" {
				r.secrets[a.Value] = true
			}
		}
	}
	return r.given.replay(r.replayer, index, entry)
}

// Restored returns what the entries have come to. An error says that some of them cannot be right.
func (r *Restorer) Restored(ctx context.Context) (*Restored, error) {
	if len(r.wrong) > 0 {
		return nil, errors.New(strings.Join(r.wrong, "; "))
	}
	done := &Restored{Records: *r.replayer.Records()}
	lost, err := Name(ctx, r.rules.Snapshot, r.snapshot.Accounts, r.rules.Holders, done.Accounts)
	if err != nil {
		return nil, err
	}
	for _, name := range lost {
		done.anew("the name of the holder of account %s: atmctl account set %[1]s --name NAME",
			name)
	}
	done.Certificates, done.Cursors = r.snapshot.Certificates, r.snapshot.Cursors
	r.users(done)
	r.revocations(done)
	r.grants(done)
	r.passkeys(done)
	for _, id := range inOrder(r.records.browsers.sessions) {
		done.Sessions = append(done.Sessions, *r.records.browsers.sessions[id])
	}
	r.feeds(done)
	for _, first := range r.records.asked.byTail {
		if first.day() >= keptFrom(r.records.newest) {
			done.Requests = append(done.Requests, vault.KeptRequest{
				Key: first.key, Index: first.index, Day: first.day(),
			})
		}
	}
	slices.SortFunc(done.Requests, func(a, b vault.KeptRequest) int {
		return cmp.Compare(a.Index, b.Index)
	})
	return done, nil
}

// restoredAtOnce bounds the accounts, holds and request ids of a part.
const restoredAtOnce = 1024

// Parts yields everything in parts, for vault.Backend.Fill. A part is good only until the next.
func (d *Restored) Parts() iter.Seq[*vault.Part] {
	return func(yield func(*vault.Part) bool) {
		rest := d.Records
		rest.Accounts, rest.Holds = nil, nil
		if !yield(&vault.Part{Records: rest}) {
			return
		}
		for some := range slices.Chunk(d.Accounts, restoredAtOnce) {
			if !yield(&vault.Part{Records: vault.Records{Accounts: some}}) {
				return
			}
		}
		for some := range slices.Chunk(d.Holds, restoredAtOnce) {
			if !yield(&vault.Part{Records: vault.Records{Holds: some}}) {
				return
			}
		}
		for some := range slices.Chunk(d.Requests, restoredAtOnce) {
			if !yield(&vault.Part{Requests: some}) {
				return
			}
		}
	}
}

func (d *Restored) anew(format string, args ...any) {
	d.Anew = append(d.Anew, fmt.Sprintf(format, args...))
}

// inOrder returns the keys of a map in order.
func inOrder[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// users restores users. A secret that was set after the snapshot is in no entry, and the one
// before it must not work again.
func (r *Restorer) users(done *Restored) {
	had := make(map[string]people.User, len(r.snapshot.Users))
	for _, u := range r.snapshot.Users {
		had[u.Subject] = u
	}
	for _, subject := range inOrder(r.records.users) {
		p := r.records.users[subject]
		if len(p.roles) == 0 {
			continue
		}
		u := had[subject]
		u.Subject, u.Disabled = subject, p.disabled
		u.Roles = p.roles[0]
		if len(p.roles) > 1 || p.unclear {
			done.anew("the roles of %s, which the log does not have in full: "+
				"atmctl user role %[1]s --role ROLE", subject)
		}
		if r.secrets[subject] {
			u.HA1, u.Slow = nil, nil
			done.anew("the password or secret of %s, if there is one: atmctl user passwd %[1]s "+
				"--secret-out FILE", subject)
		}
		done.Users = append(done.Users, u)
	}
}

// revocations restores all that was made, and all that may have been.
func (r *Restorer) revocations(done *Restored) {
	at := r.records.revoked.at
	for name, times := range r.records.revoked.maybe {
		for _, t := range times {
			if t.After(at[name]) {
				at[name] = t
			}
		}
	}
	for _, name := range inOrder(at) {
		done.Revocations = append(done.Revocations, people.Revocation{Name: name, At: at[name]})
	}
}

// grants restores the grants of the snapshot. The id of a later one is in its token alone.
func (r *Restorer) grants(done *Restored) {
	for _, g := range r.snapshot.Grants {
		for _, u := range r.records.grants.used[g.ID] {
			g.Spent += u.amount
		}
		done.Grants = append(done.Grants, g)
	}
	for _, made := range r.records.grants.made {
		if made.index >= 0 && made.grant.Expires.After(r.records.newest) {
			done.anew("the grant of %s to %s, of entry %d, which %[1]s gives again: "+
				"atmctl grant create", made.grant.Grantor, made.grant.Grantee, made.index)
		}
	}
}

// passkeys restores passkeys. An entry has the hash of a long key in place of the key.
func (r *Restorer) passkeys(done *Restored) {
	for _, id := range inOrder(r.records.browsers.passkeys) {
		made := r.records.browsers.passkeys[id]
		p := made.Passkey
		if len(p.Key) == 0 {
			for _, a := range made.args {
				if a.Name == "key" && whole(a.Value) {
					p.Key, _ = base64.StdEncoding.DecodeString(a.Value)
				}
			}
		}
		if len(p.Key) == 0 {
			done.anew("passkey %s of %s: atmctl user invite %[2]s", cmp.Or(p.Name, p.ID), p.Subject)
			continue
		}
		done.Passkeys = append(done.Passkeys, p)
	}
}

// feeds restores subscriptions and sources. An entry has the beginning of a long URL alone.
func (r *Restorer) feeds(done *Restored) {
	had := make(map[feeds.ID]feeds.Subscription)
	for _, book := range r.snapshot.Feeds {
		for _, s := range book.Subscriptions {
			had[s.ID] = s
		}
	}
	for _, owner := range inOrder(r.records.feeds.books) {
		book := r.records.feeds.books[owner]
		row := feeds.Book{Owner: owner}
		for _, said := range book.subscriptions {
			s := said.Subscription
			if kept, known := had[s.ID]; known {
				s.URL = kept.URL
			}
			if !whole(s.URL) {
				done.anew("subscription %s of %s, whose URL is too long for the log: "+
					"atmctl feed add %[1]s --url URL", s.Name, owner)
				continue
			}
			row.Subscriptions = append(row.Subscriptions, s)
		}
		for _, said := range book.sources {
			row.Sources = append(row.Sources, said.Source)
		}
		done.Feeds = append(done.Feeds, row)
	}
}
