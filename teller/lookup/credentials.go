// Package lookup finds in a store what no rule names: which credentials were issued, used and
// revoked, and how the bank is. It decides nothing and changes nothing.
package lookup

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// Knows reports whether a subject is known, disabled or not.
func Knows(ctx context.Context, store people.Store, subject string) (bool, error) {
	all, err := store.Users(ctx)
	_, found := slices.BinarySearchFunc(all, subject, func(u people.User, s string) int {
		return strings.Compare(u.Subject, s)
	})
	return found, err
}

// Issued reports whether a store knows a certificate, or a token or an invitation by its
// revocation, as issued here.
func Issued(ctx context.Context, store people.Store, name string) (bool, error) {
	all, err := store.Certificates(ctx)
	_, found := slices.BinarySearchFunc(all, name, func(c people.Certificate, s string) int {
		return strings.Compare(c.Serial, s)
	})
	return found, err
}

// Tokens returns up to limit of the tokens that have not ended, that fit, and whose ids are
// above after, in order of id; next is the cursor to go on with.
func Tokens(ctx context.Context, store people.Store, after string, limit int,
	fits func(*people.Certificate) bool,
) (page []people.Certificate, next string, err error) {
	all, err := store.Certificates(ctx)
	if err != nil {
		return nil, "", err
	}
	now, first := time.Now(), people.TokenRevocation("", after)
	for _, c := range all {
		if c.Serial <= first || !strings.HasPrefix(c.Serial, people.TokenRevocation("", "")) ||
			!now.Before(c.NotAfter) || !fits(&c) {
			continue
		}
		if len(page) == limit {
			return page, TokenID(&page[limit-1]), nil
		}
		page = append(page, c)
	}
	return page, "", nil
}

// TokenID is the id of a token that is recorded as c.
func TokenID(c *people.Certificate) string {
	return strings.TrimPrefix(c.Serial, people.TokenRevocation("", ""))
}

// TakenBack reports whether a token was revoked, by itself or with everything of its subject
// or of the actor that it names.
func TakenBack(c *people.Certificate, revoked map[string]people.Revocation) bool {
	_, itself := revoked[c.Serial]
	return itself || slices.ContainsFunc([]string{c.Subject, c.Actor}, func(subject string) bool {
		all, is := revoked["subject:"+subject]
		return is && !c.Issued.IsZero() && !c.Issued.After(all.At)
	})
}

// usesWithin is how many of the newest entries of the log are searched for uses of
// certificates.
const usesWithin = 10_000

// LastUses are the times at which certificates signed somebody in last, by serial number,
// as far as the newest entries of the log say. So they are the same on every replica, and
// after a restart.
func LastUses(ctx context.Context, store vault.Store) (map[string]string, error) {
	log, err := vault.OpenLog(ctx, store)
	if err != nil {
		return nil, err
	}
	_, head, err := log.Signed(ctx)
	if err != nil {
		return nil, err
	}
	begin, _, err := log.Base(ctx)
	if err != nil {
		return nil, err
	}
	used := make(map[string]string)
	err = log.Entries(ctx, max(begin, head.Size-usesWithin), head.Size,
		func(_ int64, leaf []byte) error {
			entry, err := audit.ParseEntry(leaf)
			if err == nil && entry.Caller != nil && entry.Caller.Serial != "" {
				used[entry.Caller.Serial] = entry.Time.UTC().Format(time.RFC3339)
			}
			return err
		})
	return used, err
}

// Revoked are the revocations by name.
func Revoked(ctx context.Context, store people.Store) (map[string]people.Revocation, error) {
	all, err := store.Revocations(ctx)
	byName := make(map[string]people.Revocation, len(all))
	for _, r := range all {
		byName[r.Name] = r
	}
	return byName, err
}
