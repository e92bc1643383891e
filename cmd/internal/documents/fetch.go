package documents

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/certificate"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
)

// A Saved statement is what a server answered.
type Saved struct {
	Lines []Line
	Proof []byte // nil for none
}

// Fetch asks the server for a statement. from and to are times in RFC 3339, or empty. What proves
// the statement is fetched, and looked through, if proof is set.
func Fetch(ctx context.Context, c *client.Client, account atm.AccountID, from, to string,
	form Form, proof bool,
) (*Saved, error) {
	f := fetcher{c: c}
	f.Account, f.From, f.To, f.proved = account.String(), from, to, proof
	if err := f.pages(ctx, account); err != nil {
		return nil, err
	}
	if err := f.made(ctx); err != nil {
		return nil, err
	}
	if !proof {
		lines, err := f.Lines(form)
		return &Saved{Lines: lines}, err
	}
	text, err := f.prove(ctx, form)
	if err != nil {
		return nil, err
	}
	// The signature is not verified, which needs the public key of the log.
	v := verifier{open: checkpoint.Parse, in: lines{rest: text}}
	if err := v.verify(); err != nil {
		return nil, &exit.Error{Code: audit.ContentDiffers, Err: fmt.Errorf("the statement was "+
			"not saved: %w", err)}
	}
	lines, err := v.Lines(form)
	return &Saved{Lines: lines, Proof: text}, err
}

// A fetcher asks for the pages of a statement, one after the other.
type fetcher struct {
	chain
	c       *client.Client
	answers []fetched
}

// A fetched page is an answer, and the index of its entry.
type fetched struct {
	answer atm.Record
	index  int64
	rows   []pageRow
}

func (f *fetcher) pages(ctx context.Context, account atm.AccountID) error {
	for !f.begun || f.cursor != "" {
		answer, err := f.c.Statement(ctx, account, client.Range{
			Limit: limit, Cursor: f.cursor, From: f.From, To: f.To, Proof: f.proved,
		})
		if err != nil {
			return err
		}
		if err := exit.FromAnswer(answer); err != nil {
			return err
		}
		one := fetched{}
		if _, err := fmt.Sscan(answer.Receipt, &one.index, new(string)); err != nil {
			return fmt.Errorf("the answer has no receipt: %w", err)
		}
		result, err := recordOf(answer.Result)
		if err != nil {
			return err
		}
		record, ok := result.(atm.Record)
		if !ok {
			return errors.New("the answer is no statement")
		}
		one.answer = record
		p, err := readPage(record, f.proved)
		if err != nil {
			return fmt.Errorf("the answer is no statement: %w", err)
		}
		one.rows = p.rows
		if err := f.add(p); err != nil {
			return err
		}
		f.answers = append(f.answers, one)
	}
	return nil
}

// made finds out when the statement was made, and in which log that is.
func (f *fetcher) made(ctx context.Context) error {
	first := &f.answers[0]
	of := []int64{first.index}
	proofs, err := f.read(ctx, atm.Receipt, of)
	if err != nil {
		return err
	}
	entries, err := f.read(ctx, atm.ShowEntry, of)
	if err != nil {
		return err
	}
	entry, err := audit.ParseEntry([]byte(entries[0]))
	if err != nil {
		return fmt.Errorf("entry %d, which is the statement: %w", first.index, err)
	}
	proof, err := audit.ParseProof([]byte(proofs[0]))
	if err != nil {
		return err
	}
	tree, err := checkpoint.Parse(proof.Checkpoint)
	if err != nil {
		return err
	}
	f.Bank, f.Index, f.Created = certificate.Bank(tree.Origin), first.index, entry.Time
	return nil
}

// prove fetches what proves the pages, and writes it.
func (f *fetcher) prove(ctx context.Context, form Form) ([]byte, error) {
	var pages, rows []int64
	for i := range f.answers {
		pages = append(pages, f.answers[i].index)
		for j := range f.answers[i].rows {
			rows = append(rows, f.answers[i].rows[j].Index)
		}
	}
	all := append(pages[:len(pages):len(pages)], rows...)
	proofs, err := f.read(ctx, atm.Receipt, all)
	if err != nil {
		return nil, err
	}
	entries, err := f.read(ctx, atm.ShowEntry, all)
	if err != nil {
		return nil, err
	}
	text := appendLine(nil, f.header(form))
	row := len(pages)
	for i := range f.answers {
		text = appendLine(text, atm.Record{
			{Name: "answer", Value: f.answers[i].answer},
			{Name: "entry", Value: entries[i]},
			{Name: "proof", Value: proofs[i]},
		})
		for range f.answers[i].rows {
			text = appendLine(text, atm.Record{
				{Name: "entry", Value: entries[row]}, {Name: "proof", Value: proofs[row]},
			})
			row++
		}
		if len(text) > MaxProof {
			return nil, fmt.Errorf("what proves the statement has more than %d bytes: choose a "+
				"shorter time", MaxProof)
		}
	}
	return text, nil
}

func appendLine(text []byte, record atm.Record) []byte {
	return append(audit.AppendResult(text, record), '\n')
}

const (
	// entriesAtOnce is how many entries fit one answer, however long they are.
	entriesAtOnce = 40

	// publishedWithin is how long an entry may take to be published.
	publishedWithin = 10 * time.Second
	lookAgain       = 100 * time.Millisecond
)

// read reads the proofs of entries, or their lines. The line of an entry that says more than the
// caller may see is empty.
func (f *fetcher) read(ctx context.Context, what atm.Operation, indexes []int64) ([]string,
	error,
) {
	atOnce := client.MaxReadings
	if what == atm.ShowEntry {
		atOnce = entriesAtOnce
	}
	texts := make([]string, 0, len(indexes))
	end := time.Now().Add(publishedWithin)
	for len(texts) < len(indexes) {
		part := indexes[len(texts):min(len(texts)+atOnce, len(indexes))]
		calls := make([]client.Reading, len(part))
		for i, index := range part {
			calls[i] = client.Reading{Method: what, Args: []any{fmt.Sprint(index)}}
		}
		answers, err := f.c.Readings(ctx, calls)
		if err != nil {
			return nil, err
		}
		late := false
		for i, answer := range answers {
			if late = answer.Code == atm.Unavailable && time.Now().Before(end); late {
				break
			}
			if what == atm.ShowEntry && answer.Code == atm.CursorInvalid {
				answer = &client.Answer{Code: atm.OK, Result: ""}
			}
			if err := exit.FromAnswer(answer); err != nil {
				return nil, fmt.Errorf("entry %d: %w", part[i], err)
			}
			texts = append(texts, answer.Text())
		}
		if late {
			select {
			case <-time.After(lookAgain):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return texts, nil
}
