package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/durable"
	"example.com/atm/internal/printable"
	"github.com/gofrs/flock"
)

// Bounds of a batch.
const (
	maxBatchLines = 10_000
	maxBatch      = 2 << 20 // bytes of the file, and of its request ids
)

// words returns the words of a line, up to a word that begins with #. As in a shell, what is
// between two quotes of a kind belongs to one word.
func words(line string) (all []string, err error) {
	var word strings.Builder
	var quote rune // the one that is open; 0 for none
	begun := false
	end := func() {
		if begun {
			all = append(all, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, begun = c, true
		case unicode.IsSpace(c):
			end()
		case c == '#' && !begun:
			return all, nil
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if quote != 0 {
		return nil, exit.Usagef("the quote %c has no end", quote)
	}
	end()
	return all, nil
}

// oneLine joins words as a file of request ids has them: one space between each two.
func oneLine(words []string) string {
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}

// A batchLine is one operation of a batch.
type batchLine struct {
	text    string // its words, in one line
	request *request
}

// batch carries out the operations in a file, one per line. Before the first is sent, all
// lines are checked and the request ids of those that move money are stored. So however the
// batch ends, running it again repeats nothing.
func (o *options) batch(ctx context.Context, to *target, file string) error {
	state := o.state
	switch {
	case o.requestID != "" || o.receipt != "":
		return exit.Usagef("a batch goes without --request-id and --receipt")
	case file == "-" && state == "":
		return exit.Usagef("a batch from standard input needs --state FILE: request ids are kept " +
			"there, so that nothing happens twice")
	case state == "":
		state = file + ".ids"
	}
	lines, err := readBatch(file)
	if err != nil {
		return err
	}
	c, err := o.connect(to)
	if err != nil {
		return err
	}
	if err := identifyBatch(ctx, state, to.url, lines); err != nil {
		return err
	}
	return o.runBatch(ctx, c, lines)
}

func readBatch(file string) ([]batchLine, error) {
	in := os.Stdin
	if file != "-" {
		var err error
		if in, _, err = durable.OpenRegular(file); err != nil {
			return nil, unreadable(file, err)
		}
		defer in.Close()
	}
	text, err := io.ReadAll(io.LimitReader(in, maxBatch+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxBatch:
		return nil, exit.Usagef("%s has more than %d bytes", file, maxBatch)
	}
	var lines []batchLine
	var wrong []error
	for i, line := range strings.Split(string(text), "\n") {
		typed, err := words(line)
		if err == nil && len(typed) == 0 {
			continue
		}
		var r *request
		if err == nil {
			r, err = parseLine(typed)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", i+1, err))
			continue
		}
		r.line = i + 1
		lines = append(lines, batchLine{oneLine(typed), r})
	}
	if len(lines) > maxBatchLines {
		return nil, exit.Usagef("%s has more than %d operations", file, maxBatchLines)
	}
	if len(wrong) > 0 {
		const shown = 10
		more := ""
		if len(wrong) > shown {
			more = fmt.Sprintf("; and %d more", len(wrong)-shown)
			wrong = wrong[:shown]
		}
		return nil, exit.Usagef("nothing was sent: %w%s", errors.Join(wrong...), more)
	}
	return lines, nil
}

// unreadable says which file could not be opened, and why, without the name of a system call.
func unreadable(file string, err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	return fmt.Errorf("%s: %w", file, err)
}

// identifyBatch gives the lines the request ids that a file has for them, and stores new ones
// for the others. The first line of the file is the server; each other line is a number, an id
// and the words of a line.
func identifyBatch(ctx context.Context, state, server string, lines []batchLine) error {
	kept, err := readIDs(state, server)
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return err
	}
	text, fresh, err := identify(state, server, lines, kept)
	switch {
	case err != nil:
		return err
	case first: // no other run has created it at the same time
		return durable.CreateFile(state, text, 0o600)
	case !fresh:
		return nil
	}
	// Another run may be adding the same lines. Two ids for one line would carry it out twice.
	unlock, err := lockIDs(ctx, state)
	if err != nil {
		return err
	}
	defer unlock()
	if kept, err = readIDs(state, server); err != nil {
		return err
	}
	if text, _, err = identify(state, server, lines, kept); err != nil {
		return err
	}
	return durable.WriteFile(state, text, 0o600)
}

// identify gives the lines the request ids that are kept. It returns what the file of request ids
// has to hold, and whether some of that is new.
func identify(state, server string, lines []batchLine, kept map[int]keptID) (_ []byte, fresh bool,
	_ error,
) {
	var text bytes.Buffer
	fmt.Fprintln(&text, server)
	for _, l := range lines {
		if !l.request.moves() {
			continue
		}
		was, known := kept[l.request.line]
		switch {
		case !known:
			fresh = true
		case was.text != l.text:
			return nil, false, exit.Usagef("line %d was %q when this batch began, by %s: add "+
				"lines at its end, and change none", l.request.line, was.text, state)
		default:
			l.request.id = was.id
		}
		delete(kept, l.request.line)
		fmt.Fprintf(&text, "%d %s %s\n", l.request.line, l.request.id, l.text)
	}
	for number, was := range kept {
		return nil, false, exit.Usagef("line %d was %q when this batch began, by %s: add lines at "+
			"its end, and change none", number, was.text, state)
	}
	if text.Len() > maxBatch {
		return nil, false, exit.Usagef("the request ids of the batch have more than %d bytes",
			maxBatch)
	}
	return text.Bytes(), fresh, nil
}

const (
	lockWithin = 30 * time.Second // waiting for another run that adds lines
	lockTry    = 50 * time.Millisecond
)

// lockIDs keeps other runs from adding lines to a file of request ids until unlock.
func lockIDs(ctx context.Context, state string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockWithin)
	defer cancel()
	lock := flock.New(state+".lock", flock.SetPermissions(0o600))
	if _, err = lock.TryLockContext(ctx, lockTry); err != nil {
		return nil, fmt.Errorf("%s: another run of the batch keeps it locked: %w", lock.Path(), err)
	}
	return func() { lock.Unlock() }, nil
}

type keptID struct {
	id   atm.RequestID
	text string
}

func readIDs(state, server string) (map[int]keptID, error) {
	f, _, err := durable.OpenRegular(state)
	if err != nil {
		return nil, unreadable(state, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBatch+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxBatch {
		return nil, exit.Usagef("%s has more than %d bytes", state, maxBatch)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	if first != server {
		return nil, exit.Usagef("%s is of a batch for %q, and not for %s", state, first, server)
	}
	kept := make(map[int]keptID)
	for line := range strings.Lines(rest) {
		var number int
		var id string
		if _, err := fmt.Sscan(line, &number, &id); err != nil {
			return nil, exit.Usagef("%s is no file of request ids: %w", state, err)
		}
		checked, err := atm.ParseRequestID(id)
		if err != nil {
			return nil, exit.Usagef("%s: line %d: %w", state, number, err)
		}
		kept[number] = keptID{checked, strings.Join(strings.Fields(line)[2:], " ")}
	}
	return kept, nil
}

// runBatch sends the lines in order. A refusal does not end the batch. Every other error does.
func (o *options) runBatch(ctx context.Context, c *client.Client, lines []batchLine) error {
	list := output.NewArray(o.stdout, o.form)
	refused := 0
	for _, l := range lines {
		answer, err := l.request.send(ctx, c, o.timeout)
		var unknown *client.OutcomeUnknownError
		switch {
		case errors.As(err, &unknown):
			return errors.Join(o.endList(list), &exit.Error{
				Code: exit.OutcomeUnknown, Request: l.request.id, Err: fmt.Errorf("line %d: %w",
					l.request.line, err),
				Advice: []string{"Money may have moved. Run the same batch again: each line " +
					"happens once, however often you run it"},
			})
		case err != nil:
			return errors.Join(o.endList(list), fmt.Errorf("line %d: %w", l.request.line,
				exit.FromClient(err)))
		}
		if o.isJSON() && !o.quiet {
			object, err := answerJSON(l.request, answer)
			if err == nil {
				err = list.Add(object)
			}
			if err != nil {
				return err
			}
		} else if err := o.printResult(l.request, answer); err != nil {
			return err
		}
		if !answer.OK() {
			refused++
			if !o.isJSON() {
				printable.Linef(o.stderr, "line %d: Error from ATM Server: %s", l.request.line,
					answer.Reason)
			}
		}
	}
	if err := o.endList(list); err != nil {
		return err
	}
	if refused > 0 {
		return &exit.Error{Code: exit.Refused, Err: fmt.Errorf("%d of %d operations were refused",
			refused, len(lines))}
	}
	return nil
}
