package documents

import (
	"errors"
	"fmt"
	"io"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/certificate"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/query"
	"golang.org/x/mod/sumdb/tlog"
)

// kind is what the first line of a proof says that it is. Its number grows if one of the forms
// changes: a file is checked by writing it again.
const kind = "atm statement proof 1"

// header is the first line of a proof.
func (s *Statement) header(form Form) atm.Record {
	return atm.Record{
		{Name: "account", Value: s.Account},
		{Name: "bank", Value: s.Bank},
		{Name: "form", Value: string(form)},
		{Name: "from", Value: s.From},
		{Name: "kind", Value: kind},
		{Name: "to", Value: s.To},
	}
}

// An opener verifies the signature of a checkpoint.
type opener func(signed []byte) (checkpoint.Checkpoint, error)

// A fault is what is wrong, with the code of a verification.
type fault struct {
	code int
	err  error
}

// Error implements error.
func (f *fault) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *fault) Unwrap() error { return f.err }

func faultf(code int, format string, args ...any) error {
	return &fault{code, fmt.Errorf(format, args...)}
}

// A verifier reads a proof, and believes nothing that does not follow from signed checkpoints.
type verifier struct {
	chain
	open   opener
	in     lines
	form   Form
	origin string                // of the log
	signed string                // the checkpoint that was opened last
	tree   checkpoint.Checkpoint // what it says
	whole  int                   // rows whose entries are there
}

// verify reads a proof, line by line: first its header, then each page, followed by a line for
// each of its rows.
func (v *verifier) verify() error {
	v.proved = true
	if err := v.readHeader(); err != nil {
		return v.at(err)
	}
	for !v.begun || v.cursor != "" {
		if err := v.readPage(); err != nil {
			return v.at(err)
		}
	}
	if len(v.in.rest) > 0 {
		return faultf(audit.ContentDiffers, "the proof goes on after the last row of the statement")
	}
	return nil
}

// at says in which line of the proof an error is.
func (v *verifier) at(err error) error {
	var known *fault
	switch {
	case errors.As(err, &known):
		return &fault{known.code, fmt.Errorf("line %d of the proof: %w", v.in.number, err)}
	case errors.Is(err, io.EOF):
		return faultf(audit.ContentDiffers, "the proof ends after line %d, before the statement "+
			"does", v.in.number)
	}
	return faultf(audit.CannotVerify, "line %d of the proof: %w", v.in.number, err)
}

func (v *verifier) record(names ...string) (atm.Record, error) {
	line, err := v.in.next()
	if err != nil {
		return nil, err
	}
	record, err := parseRecord(line)
	if err != nil {
		return nil, err
	}
	if len(record) != len(names) {
		return nil, errRecord
	}
	for i, name := range names {
		if record[i].Name != name {
			return nil, errRecord
		}
	}
	return record, nil
}

func (v *verifier) readHeader() error {
	record, err := v.record("account", "bank", "form", "from", "kind", "to")
	if err != nil {
		return err
	}
	f := &fields{of: record}
	v.Account, v.Bank, v.form = f.text("account"), f.text("bank"), Form(f.text("form"))
	v.From, v.To = f.text("from"), f.text("to")
	if f.text("kind") != kind {
		f.fail(fmt.Errorf("it is no %s", kind))
	}
	return f.err
}

// readPage reads a page and its rows.
func (v *verifier) readPage() error {
	line, err := v.record("answer", "entry", "proof")
	if err != nil {
		return err
	}
	f := &fields{of: line}
	answer, text, proof := member[atm.Record](f, "answer"), f.text("entry"), f.text("proof")
	if f.err != nil {
		return f.err
	}
	p, err := readPage(answer, true)
	if err != nil {
		return err
	}
	entry, index, err := v.pageEntry(text, proof)
	if err != nil {
		return err
	}
	if got := audit.ResultText(answer); entry.Status.Result != got {
		return faultf(audit.ContentDiffers, "the page is not what entry %d answers: its hash is "+
			"%s, in the entry %v", index, got, entry.Status.Result)
	}
	if !v.begun {
		v.Index, v.Created = index, entry.Time
	}
	if err := v.add(p); err != nil {
		return &fault{audit.ContentDiffers, err}
	}
	for i := range p.rows {
		if err := v.readRow(&p.rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// pageEntry verifies that the entry of a page is in the log, and asks for the page that is next.
func (v *verifier) pageEntry(text, proof string) (*audit.Entry, int64, error) {
	index, err := v.prove(proof, merkle.LeafHash([]byte(text)))
	if err != nil {
		return nil, 0, err
	}
	entry, err := audit.ParseEntry([]byte(text))
	if err != nil {
		return nil, 0, err
	}
	want := []audit.Arg{
		{Name: "account", Value: v.Account},
		{Name: "range", Value: asked(v.cursor, v.From, v.To)},
	}
	switch {
	case entry.Event != audit.EventOp || entry.Operation != atm.Statement ||
		entry.Status == nil || entry.Status.Code != atm.OK || entry.ReplayOf >= 0:
		return nil, 0, faultf(audit.ContentDiffers, "entry %d is that of no statement", index)
	case len(entry.Args) != 2 || entry.Args[0] != want[0]:
		return nil, 0, faultf(audit.ContentDiffers, "entry %d is of a statement of another account",
			index)
	case entry.Args[1] != want[1]:
		return nil, 0, faultf(audit.ContentDiffers, "entry %d is of the page %q, and next is %q",
			index, entry.Args[1].Value, want[1].Value)
	}
	return entry, index, nil
}

// readRow verifies that the entry of a row is in the log, and says the same as the row if it is
// there. What it says is proved by its page otherwise.
func (v *verifier) readRow(row *pageRow) error {
	line, err := v.record("entry", "proof")
	if err != nil {
		return err
	}
	f := &fields{of: line}
	text, proof := f.text("entry"), f.text("proof")
	if f.err != nil {
		return f.err
	}
	index, err := v.prove(proof, row.leaf)
	if err != nil {
		return err
	}
	if index != row.Index {
		return faultf(audit.ContentDiffers, "the proof is of entry %d, the row of entry %d", index,
			row.Index)
	}
	if text == "" {
		return nil
	}
	v.whole++
	if merkle.LeafHash([]byte(text)) != row.leaf {
		return faultf(audit.ContentDiffers, "the entry is not entry %d of the log", index)
	}
	said, err := query.RowOf(vault.Name(v.Account), row.version, vault.JournalIndex(index),
		[]byte(text))
	if err != nil {
		return faultf(audit.ContentDiffers, "%w", err)
	}
	if !said.Time.Equal(row.Time) || said.Operation != row.Operation ||
		said.Amount != row.Amount || said.Balance != row.Balance ||
		said.Counterparty != row.Counterparty || said.Memo != row.Memo ||
		said.Reverses != row.Reverses {
		return faultf(audit.ContentDiffers, "entry %d does not say what its row says", index)
	}
	return nil
}

// prove verifies that an entry with this hash is in the log, and returns its index.
func (v *verifier) prove(text string, leaf merkle.Hash) (int64, error) {
	proof, err := audit.ParseProof([]byte(text))
	if err != nil {
		return 0, err
	}
	if v.signed == "" || v.signed != string(proof.Checkpoint) {
		tree, err := v.open(proof.Checkpoint)
		switch {
		case errors.Is(err, checkpoint.ErrSignature):
			return 0, &fault{audit.WrongSignature, err}
		case err != nil:
			return 0, err
		case certificate.Bank(tree.Origin) != v.Bank:
			return 0, faultf(audit.WrongSignature, "the log is that of %s, and the bank is %s",
				tree.Origin, v.Bank)
		case v.origin != "" && v.origin != tree.Origin:
			return 0, faultf(audit.WrongSignature, "it is of the log %s, and others are of %s",
				tree.Origin, v.origin)
		}
		v.origin = tree.Origin
		v.signed, v.tree = string(proof.Checkpoint), tree
	}
	if proof.Index >= v.tree.Size || tlog.CheckRecord(proof.Hashes, v.tree.Size, v.tree.Root,
		proof.Index, leaf) != nil {
		return 0, faultf(audit.ContentDiffers, "the entry is not entry %d of the signed tree",
			proof.Index)
	}
	return proof.Index, nil
}
