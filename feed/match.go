package feed

import (
	"bytes"
	"context"
	"slices"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/search"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// A matcher selects the entries of one subscription.
type matcher struct {
	filter *feeds.Filter
	search search.Filter

	// needles are what a leaf must have in it, whatever else it has: most leaves are passed over
	// without being parsed. Each is the end of a word.
	needles [][]byte
}

// needleBytes is how long a needle is at most. Eight bytes are compared at once: a word that is
// longer than 16 would take three times as long to look for.
const needleBytes = 8

func newMatcher(f *feeds.Filter) *matcher {
	m := &matcher{filter: f, search: search.Filter{
		Account: f.Account, Who: f.Subject, Operation: f.Operation, Status: f.Status,
	}}
	for _, text := range []string{f.Account, f.Subject, string(f.Operation)} {
		if text != "" { // which JSON does not escape
			needle := []byte(`"` + text + `"`)
			m.needles = append(m.needles, needle[max(0, len(needle)-needleBytes):])
		}
	}
	return m
}

// everything reports whether there is nothing to select.
func (m *matcher) everything() bool { return *m.filter == feeds.Filter{} }

// may reports whether a leaf may match.
func (m *matcher) may(leaf []byte) bool {
	for _, needle := range m.needles {
		if !bytes.Contains(leaf, needle) {
			return false
		}
	}
	return true
}

// matches reports whether an entry does. What repeats an earlier answer has changed nothing, so
// only a subscription to everything has it.
func (m *matcher) matches(ctx context.Context, e *audit.Entry, owners *owners) (bool, error) {
	if m.everything() {
		return true, nil
	}
	if e.ReplayOf >= 0 || !m.search.Fits(e) {
		return false, nil
	}
	f := m.filter
	if f.Above > 0 && !slices.ContainsFunc(e.Args, func(arg audit.Arg) bool {
		amount, code := atm.ParseAmount(arg.Value)
		return arg.Name == "amount" && code == atm.OK && amount > f.Above
	}) {
		return false, nil
	}
	if f.Below > 0 && !slices.ContainsFunc(e.State, m.falls) {
		return false, nil
	}
	if f.Owner == "" {
		return true, nil
	}
	for _, c := range e.State {
		if owner, err := owners.of(ctx, vault.Name(c.Account)); err != nil || owner == f.Owner {
			return err == nil, err
		}
	}
	return false, nil
}

// falls reports whether a change takes a balance below the line that is watched. One that was
// below it before does not fall below it again.
func (m *matcher) falls(c audit.Change) bool {
	f := m.filter
	return (f.Account == c.Account || f.Account == "" && !vault.Name(c.Account).Internal()) &&
		c.Before >= f.Below && c.After < f.Below
}

// owners remembers who owns accounts, for a moment.
type owners struct {
	store Store
	known map[vault.Name]string
}

// maxOwners bounds how many are remembered.
const maxOwners = 4096

func (o *owners) forget() { clear(o.known) }

func (o *owners) of(ctx context.Context, name vault.Name) (string, error) {
	if owner, known := o.known[name]; known {
		return owner, nil
	}
	a, err := o.store.Account(ctx, name)
	if err != nil {
		return "", err
	}
	if len(o.known) >= maxOwners {
		clear(o.known)
	}
	o.known[name] = a.Owner
	return a.Owner, nil
}
