package teller

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/balances"
	"example.com/atm/audit/search"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
)

// beginRead carries out an operation that reads the audit log.
func (t *Teller) beginRead(ctx context.Context, in *input) (Reply, error) {
	in.Reach = t.cfg.Permissions.Permit(in.Caller.Principal, in.op.Name)
	if in.Reach == atm.Nowhere {
		return t.RecordRead(ctx, in.Caller, in.op.Name, atm.Status(denied)), nil
	}
	status, err := in.op.read(ctx, t, in)
	if err != nil {
		return nil, err
	}
	return t.RecordRead(ctx, in.Caller, in.op.Name, status), nil
}

// noEntry answers for an entry that does not exist, and for one that the caller
// may not see: the answer does not tell which.
var noEntry = atm.Status{Code: atm.CursorInvalid, Reason: "There is no such entry", Result: ""}

// showEntry carries out ShowEntry.
// notKept answers for an entry that was trimmed. Which entries these are is no secret.
func notKept(index int64) atm.Status { return atm.Status(vault.BadCursor(vault.NotKept(index))) }

func showEntry(ctx context.Context, t *Teller, in *input) (atm.Status, error) {
	index, ok := in.index()
	if !ok {
		return noEntry, nil
	}
	slip, err := t.Slip(ctx, in.Caller, index)
	switch {
	case errors.Is(err, vault.ErrTrimmed):
		return notKept(index), nil
	case err != nil || slip == nil:
		return noEntry, err
	case slip.Leaf == nil:
		return atm.Status{
			Code:   atm.CursorInvalid,
			Reason: "The entry says more than you may see; its receipt proves it", Result: "",
		}, nil
	}
	return atm.Status{Code: atm.OK, Result: string(slip.Leaf)}, nil
}

// index reads the first argument as the index of an entry.
func (in *input) index() (int64, bool) {
	index, err := strconv.ParseInt(in.Args[0].Text, 10, 64)
	return index, err == nil && index >= 0
}

func receipt(ctx context.Context, t *Teller, in *input) (atm.Status, error) {
	index, ok := in.index()
	if !ok {
		return noEntry, nil
	}
	leaf, err := t.Entry(ctx, in.Caller, index)
	if errors.Is(err, vault.ErrTrimmed) {
		return notKept(index), nil
	}
	if err != nil || leaf == nil {
		return noEntry, err
	}
	proof, err := t.cfg.Installation.Prove(ctx, index)
	if errors.Is(err, audit.ErrDiffers) {
		return atm.Status{Code: atm.Unavailable, Reason: "The published log does not prove the " +
			"entry", Result: ""}, nil
	}
	if err != nil {
		return atm.Status{
			Code: atm.Unavailable, Reason: "The entry has not been published yet",
			Result: "",
		}, nil
	}
	return atm.Status{Code: atm.OK, Result: string(proof)}, nil
}

// wanted is what a caller of AuditList asks for.
type wanted struct {
	search.Filter
	before int64 // index; 0 for the newest entry
	limit  int
}

// search reads the members of the argument at position i. What is wrong with the value of one
// becomes a refusal; an error is a malformed call.
func (in *input) search(i int) (s wanted, refusal *atm.Status, err error) {
	s.limit = methods.DefaultRows
	no := func(reason string) (wanted, *atm.Status, error) {
		status := atm.Status(vault.BadCursor(reason))
		return wanted{}, &status, nil
	}
	for _, m := range in.Args[i].Members {
		if !m.Arg.Given() {
			continue
		}
		known, err := s.set(m.Name, m.Arg.Text)
		if !known {
			return wanted{}, nil, malformed("a filter has no %s", shorten(m.Name))
		}
		if err != nil {
			return no(m.Name + " of the filter makes no sense")
		}
	}
	if !s.Since.IsZero() && !s.Until.IsZero() && s.Since.After(s.Until) {
		return no("since of the filter is after until")
	}
	return s, nil, nil
}

// set reads one member, and reports whether a filter has one of this name.
func (s *wanted) set(member, value string) (known bool, err error) {
	switch member {
	case "account":
		s.Account = value
	case "who":
		s.Who = value
	case "operation":
		s.Operation = atm.Operation(value)
	case "event":
		s.Event = audit.Event(value)
	case "status":
		s.Status = value
	case "code":
		s.Code = atm.Code(value)
	case "since":
		s.Since, err = atm.ParseTime(value)
	case "until":
		s.Until, err = atm.ParseTime(value)
	case "before", "cursor":
		s.before, err = strconv.ParseInt(value, 10, 64)
	case "limit":
		s.limit, err = strconv.Atoi(value)
		if err == nil && (s.limit < 1 || s.limit > methods.MaxRows) {
			err = strconv.ErrRange
		}
	default:
		return false, nil
	}
	return true, err
}

// listEntries carries out AuditList.
func listEntries(ctx context.Context, t *Teller, in *input) (atm.Status, error) {
	s, refusal, err := in.search(0)
	if err != nil {
		return atm.Status{}, err
	}
	if refusal != nil {
		return *refusal, nil
	}
	page, err := t.search(ctx, &s)
	if err != nil {
		return atm.Status{}, err
	}
	since, err := t.keptSince(ctx)
	if err != nil {
		return atm.Status{}, err
	}
	return atm.Status{Code: atm.OK, Result: append(listed(page), atm.Field{
		Name: "since", Value: since,
	})}, nil
}

// keptSince is the time from which on the server keeps entries; empty when it keeps all.
func (t *Teller) keptSince(ctx context.Context) (string, error) {
	since, err := t.Since(ctx)
	if err != nil || since.IsZero() {
		return "", err
	}
	return since.UTC().Format(audit.TimeFormat), nil
}

// search finds a page of entries of the current log.
func (t *Teller) search(ctx context.Context, s *wanted) (*search.Page, error) {
	log, err := vault.OpenLog(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	_, head, err := log.Signed(ctx)
	if err != nil {
		return nil, err
	}
	if s.before <= 0 || s.before > head.Size {
		s.before = head.Size
	}
	first, _, err := log.Base(ctx)
	if err != nil {
		return nil, err
	}
	return search.Find(ctx, log.Entries, t.cfg.Index, &s.Filter, search.Range{
		First: first, Before: s.before,
	}, s.limit)
}

// listed is a page of entries, as many as fit an answer.
func listed(page *search.Page) atm.Record {
	entries, size := make([]atm.Record, len(page.Found)), 0
	for i, found := range page.Found {
		if size += wireBytes(string(found.Leaf)); size > methods.MaxPageBytes {
			entries, page.Next = entries[:i], page.Found[i].Index+1
			break
		}
		entries[i] = atm.Record{
			{Name: "index", Value: found.Index},
			{Name: "entry", Value: string(found.Leaf)},
		}
	}
	next := ""
	if page.Next > 0 {
		next = strconv.FormatInt(page.Next, 10)
	}
	return atm.Record{
		{Name: "entries", Value: entries},
		{Name: "next", Value: next},
		{Name: "read", Value: int64(page.Read)},
		{Name: "total", Value: int64(page.Total)},
	}
}

// hashBalances carries out AuditBalances.
func hashBalances(ctx context.Context, t *Teller, _ *input) (atm.Status, error) {
	logs, err := t.cfg.Store.Logs(ctx)
	if err != nil {
		return atm.Status{}, err
	}
	h := balances.NewHash()
	accounts := int64(0)
	journal, err := t.cfg.Store.Balances(ctx, func(a vault.Account) {
		accounts++
		h.Add(string(a.Name), a.Version, a.Balance)
	})
	if err != nil {
		return atm.Status{}, err
	}
	return atm.Status{Code: atm.OK, Result: atm.Record{
		{Name: "size", Value: vault.InLog(logs, journal)},
		{Name: "logs", Value: int64(len(logs))},
		{Name: "accounts", Value: accounts},
		{Name: "hash", Value: h.Sum()},
	}}, nil
}

// wireBytes is how many bytes a text has in XML.
func wireBytes(text string) int {
	const longer = len("&amp;") - 1
	return len(text) + longer*(strings.Count(text, "&")+strings.Count(text, "<")+
		strings.Count(text, ">"))
}
