// Package reader shows callers what they may see of accounts and of the audit log, and records
// that they read the log.
package reader

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/search"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
)

// errFound ends the reading of entries.
var errFound = errors.New("found")

// A Reader shows callers what they may see of accounts and of the audit log. It changes nothing
// but records that the log was read.
type Reader struct {
	ledger      *ledger.Ledger
	store       vault.Store
	permissions Permissions
	index       *search.Index
	recorded    lastReads
	begins      atomic.Pointer[beginning] // of the journal, as of when it was looked at last
}

// Permissions say what callers may do.
type Permissions interface {
	// Permit says on which accounts a principal may do an operation.
	Permit(atm.Principal, atm.Operation) atm.Reach
}

// New returns a reader.
func New(ledger *ledger.Ledger, store vault.Store, index *search.Index, permissions Permissions,
) *Reader {
	return &Reader{ledger: ledger, store: store, index: index, permissions: permissions}
}

var denied = atm.Status{
	Code: atm.PermissionDenied, Reason: "You may not do this", Result: "",
}

// maxOwned bounds the accounts that Owned lists.
const maxOwned = 50

// Owned lists the numbers of accounts that caller owns, in order, and reports whether there may
// be more. It looks at as many accounts as a page of account.list does. It is no operation: it
// tells callers nothing that they could not ask account by account.
func (r *Reader) Owned(ctx context.Context, caller *atm.Caller) (numbers []string, more bool,
	err error,
) {
	// A grant is for some accounts of its subject: its holder is not shown the others.
	if caller.Grant != "" || r.permissions.Permit(caller.Principal, atm.Inquiry) == atm.Nowhere {
		return nil, false, nil
	}
	_, more, err = r.Scan(ctx, 0, 500, func(a *vault.Account) (bool, error) {
		if a.Owner != caller.Subject {
			return true, nil
		}
		if len(numbers) == maxOwned {
			return false, nil
		}
		numbers = append(numbers, string(a.Name))
		return true, nil
	})
	return numbers, more, err
}

// A Slip is an entry of the audit log as one caller may see it.
type Slip struct {
	// Hash is that of the entry's bytes, which a receipt proves to be in the log.
	Hash merkle.Hash

	// Leaf is these bytes; nil when they say more than the caller may know, such as the balance
	// of the account that money went to.
	Leaf []byte

	// Entry is what the caller may know of the entry.
	Entry *audit.Entry
}

// Slip returns the slip of an entry. It returns nil for an entry that does not exist, and for
// one whose receipt the caller may not ask for or that is only for auditors.
func (r *Reader) Slip(ctx context.Context, caller *atm.Caller, index int64) (*Slip, error) {
	leaf, err := r.Entry(ctx, caller, index)
	if err != nil || leaf == nil {
		return nil, err
	}
	return r.slip(ctx, caller, leaf)
}

// Seen is the slip of an entry with these bytes for a principal who does not call; nil when there
// is none.
func (r *Reader) Seen(ctx context.Context, p atm.Principal, leaf []byte) (*Slip, error) {
	caller := &atm.Caller{Principal: p}
	if r.permissions.Permit(p, atm.Receipt) == atm.Nowhere {
		return nil, nil
	}
	return r.slip(ctx, caller, leaf)
}

func (r *Reader) slip(ctx context.Context, caller *atm.Caller, leaf []byte) (*Slip, error) {
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return nil, err
	}
	s := &Slip{merkle.LeafHash(leaf), leaf, entry}
	if r.MayReadAudit(caller) {
		return s, nil
	}
	made := entry.Caller != nil && entry.Caller.Subject == caller.Subject &&
		entry.Caller.Actor == caller.Actor
	visible, err := r.visible(ctx, caller, entry.State)
	if err != nil || !made && len(visible) == 0 {
		return nil, err
	}
	if made && len(visible) == len(entry.State) {
		return s, nil
	}
	s.Leaf, entry.State = nil, visible
	if !made {
		s.Entry = shared(entry)
	}
	return s, nil
}

// shared is what the owner of an account may know of an entry that another caller made.
func shared(entry *audit.Entry) *audit.Entry {
	known := &audit.Entry{
		Time: entry.Time, Event: entry.Event, Operation: entry.Operation, State: entry.State,
		ReplayOf: -1, Reverses: entry.Reverses, Debtor: entry.Debtor,
	}
	if entry.Status != nil {
		known.Status = &atm.Status{Code: entry.Status.Code, Result: ""}
	}
	for _, arg := range entry.Args {
		switch arg.Name {
		case "account", "from", "to", "amount", "mandate", "order", "due", "text", atm.MemoArg:
			known.Args = append(known.Args, arg)
		}
	}
	return known
}

// visible returns those changes whose accounts the caller may ask for, and those of the caller's
// own cash.
func (r *Reader) visible(ctx context.Context, caller *atm.Caller, state []audit.Change) (
	visible []audit.Change, err error,
) {
	reach := r.permissions.Permit(caller.Principal, atm.Inquiry)
	for _, change := range state {
		name := vault.Name(change.Account)
		seen := name == vault.Cash(caller.Subject)
		switch {
		case name.Internal():
		case reach == atm.Everywhere:
			seen = true
		case reach == atm.Owned:
			if seen, err = r.Owns(ctx, caller.Subject, name); err != nil {
				return nil, err
			}
		}
		if seen {
			visible = append(visible, change)
		}
	}
	return visible, nil
}

// Entry returns the bytes of an entry of the audit log. It returns nil for an entry that does not
// exist, and for one whose receipt the caller may not ask for.
func (r *Reader) Entry(ctx context.Context, caller *atm.Caller, index int64) (leaf []byte,
	err error,
) {
	reach := r.permissions.Permit(caller.Principal, atm.Receipt)
	if reach == atm.Nowhere || index < 0 {
		return nil, nil
	}
	if leaf, err = r.Leaf(ctx, index); err != nil || leaf == nil {
		return nil, err
	}
	if reach == atm.Everywhere {
		return leaf, nil
	}
	entry, err := audit.ParseEntry(leaf)
	if err != nil {
		return nil, err
	}
	if concerns, err := r.concerns(ctx, entry, caller.Subject); err != nil || !concerns {
		return nil, err
	}
	return leaf, nil
}

// Leaf returns the bytes of an entry of the audit log for the program itself, and nil for an entry
// that does not exist.
func (r *Reader) Leaf(ctx context.Context, index int64) (leaf []byte, err error) {
	log, err := vault.OpenLog(ctx, r.store)
	if err != nil {
		return nil, err
	}
	_, head, err := log.Signed(ctx)
	if err != nil || index < 0 || index >= head.Size {
		return nil, err
	}
	err = log.Entries(ctx, index, index+1, func(_ int64, found []byte) error {
		leaf = append(leaf, found...)
		return errFound
	})
	if !errors.Is(err, errFound) {
		return nil, err
	}
	return leaf, nil
}

// Reach says on which accounts caller may do an operation.
func (r *Reader) Reach(caller *atm.Caller, op atm.Operation) atm.Reach {
	return r.permissions.Permit(caller.Principal, op)
}

// MayReadAudit reports whether caller may read the audit log.
func (r *Reader) MayReadAudit(caller *atm.Caller) bool {
	return r.permissions.Permit(caller.Principal, atm.AuditRead) == atm.Everywhere
}

// AuditRead records that caller reads the audit log, or was refused it: at
// most once a minute. It returns when that is durable.
func (r *Reader) AuditRead(ctx context.Context, caller *atm.Caller) {
	status := atm.Status{Code: atm.OK, Result: ""}
	if !r.MayReadAudit(caller) {
		status = denied
	}
	r.RecordRead(ctx, caller, atm.AuditRead, status)()
}

// RecordRead begins to record that the log was read by an operation that is
// answered with status, when it is time for that. The reply is status, with
// the receipt of the entry when there is one.
func (r *Reader) RecordRead(ctx context.Context, caller *atm.Caller, op atm.Operation,
	status atm.Status,
) ledger.Reply {
	if !r.recorded.due(caller.Subject, time.Now()) {
		return func() atm.Status { return status }
	}
	recorded := r.ledger.Begin(ctx, vault.Command{
		Event: audit.EventAuditRead, Operation: op, Caller: caller, Rule: vault.Refuse(status.Code,
			status.Reason),
	})
	return func() atm.Status {
		entry := recorded()
		if entry.Receipt == "" {
			r.recorded.forget(caller.Subject)
			return entry // it could not be recorded, so it is not given out
		}
		status.Receipt = entry.Receipt
		return status
	}
}

// scanMost bounds the accounts that one call looks at to find those it lists. A page may
// have few of them, or none, and its cursor goes on.
const scanMost = 5000

// Scan calls look with the customers' accounts whose numbers are above after, in order of number,
// until look returns false or has seen scanMost accounts. It reads atOnce accounts at a time. It
// returns the number of the last account for which look returned true, and whether there may be
// accounts above that number.
func (r *Reader) Scan(ctx context.Context, after uint64, atOnce int,
	look func(*vault.Account) (bool, error),
) (last uint64, more bool, err error) {
	last = after
	for range scanMost / atOnce {
		accounts, err := r.store.Accounts(ctx, last, atOnce)
		if err != nil {
			return last, false, err
		}
		for i := range accounts {
			goOn, err := look(&accounts[i])
			if err != nil || !goOn {
				return last, true, err
			}
			if last, err = strconv.ParseUint(string(accounts[i].Name), 10, 64); err != nil {
				return last, false, err
			}
		}
		if len(accounts) < atOnce {
			return last, false, nil
		}
	}
	return last, true, nil
}

// Owns reports whether an account with a number is subject's at the moment.
func (r *Reader) Owns(ctx context.Context, subject string, account vault.Name) (bool, error) {
	found, err := r.store.Account(ctx, account)
	return err == nil && found.Version > 0 && found.Owner == subject, err
}

// concerns reports whether an entry was made by subject or changed an account
// that subject owns.
func (r *Reader) concerns(ctx context.Context, entry *audit.Entry, subject string) (bool, error) {
	if entry.Caller != nil && entry.Caller.Subject == subject {
		return true, nil
	}
	for _, change := range entry.State {
		if owned, err := r.Owns(ctx, subject, vault.Name(change.Account)); err != nil || owned {
			return owned, err
		}
	}
	return false, nil
}

const (
	// readEntryEvery is how often the reading of the log by one caller is
	// recorded at most.
	readEntryEvery = time.Minute

	// maxReaders bounds the readers that are remembered.
	maxReaders = 1024
)

// lastReads are the times at which the reading of each subject was last recorded.
type lastReads struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu
}

// forget takes back that an entry about subject was made: the next reading is recorded.
func (r *lastReads) forget(subject string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.last, subject)
}

// due reports whether an entry about subject is due, and then notes that it was made.
func (r *lastReads) due(subject string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, seen := r.last[subject]; seen && now.Sub(last) < readEntryEvery {
		return false
	}
	if r.last == nil || len(r.last) >= maxReaders {
		r.last = make(map[string]time.Time)
	}
	r.last[subject] = now
	return true
}
