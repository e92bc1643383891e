package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/ask"
	"example.com/atm/cmd/internal/exit"
)

const shellHelp = `inquiry ACCOUNT                    the balance
deposit ACCOUNT AMOUNT             withdraw ACCOUNT AMOUNT
transfer FROM TO AMOUNT            statement ACCOUNT [--limit N] [--from T] [--to T]
authorize ACCOUNT AMOUNT [--life D]
capture HOLD [AMOUNT]              release HOLD
reverse INDEX [AMOUNT]             gives back what an entry moved
--memo "TEXT" says what the money is for, on each line that moves some or holds some
mandate create ACCOUNT --creditor SUBJECT [--each AMOUNT] [--total AMOUNT --period P]
               [--from DAY] [--until DAY]
mandate list ACCOUNT               mandate revoke MANDATE
collect MANDATE AMOUNT TO          collects into an account of the creditor
order create ACCOUNT --to ACCOUNT --amount AMOUNT --every P [--on DAY] [--at TIME]
             [--zone ZONE] [--from DAY] [--until DAY]
order list ACCOUNT                 order show ORDER          order cancel ORDER
note ACCOUNT "TEXT"                notices ACCOUNT [--limit N]
certificate ACCOUNT                who holds it, for others to check
whoami                             who is signed in
retry                              the operation whose outcome is unknown, once more
forget                             do without the outcome of that operation
help                               quit
`

// A shell carries out operations as a person types them.
type shell struct {
	*options
	c *client.Client

	// doubtful is the request whose outcome is unknown. No other request may move money
	// until the person retries it or forgets it.
	doubtful *request
	refused  int
}

// shell asks for operations on a terminal, written as on the command line. From a file or a
// pipe it reads one per line, and ends at the first that is wrong or whose outcome is unknown.
func (o *options) shell(ctx context.Context, to *target) error {
	if o.requestID != "" || o.receipt != "" {
		return exit.Usagef("a shell goes without --request-id and --receipt")
	}
	c, err := o.connect(to)
	if err != nil {
		return err
	}
	s := &shell{options: o, c: c}
	if !ask.Possible() {
		return s.script(ctx, os.Stdin)
	}
	prompt := ask.NewPrompt("atm> ", append(operationNames(), "retry", "forget", "help", "quit"))
	for ctx.Err() == nil {
		line, err := prompt.Line()
		if errors.Is(err, ask.ErrInterrupted) {
			break
		}
		if err != nil {
			return err
		}
		typed, err := words(line)
		if len(typed) == 1 && (typed[0] == "quit" || typed[0] == "exit") {
			break
		}
		if err == nil {
			err = s.carryOut(ctx, typed)
		}
		if err != nil {
			exit.Report(o.stderr, "atmclient", exit.FromClient(err), o.isJSON())
		}
	}
	if s.doubtful != nil {
		return unknownOutcome(s.doubtful, errors.New("the outcome of an operation is still "+
			"unknown"))
	}
	return nil
}

// script carries out the lines of a file or a pipe.
func (s *shell) script(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	for number := 1; lines.Scan(); number++ {
		var refusal *exit.Error
		typed, err := words(lines.Text())
		if err == nil {
			err = s.carryOut(ctx, typed)
		}
		switch {
		case err == nil:
		case s.doubtful != nil:
			return unknownOutcome(s.doubtful, fmt.Errorf("line %d: %w", number, err))
		case errors.As(err, &refusal) && refusal.Code == exit.Refused:
			s.refused++
			exit.Report(s.stderr, "atmclient", err, s.isJSON())
		default:
			return fmt.Errorf("line %d: %w", number, exit.FromClient(err))
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if s.refused > 0 {
		return &exit.Error{Code: exit.Refused, Err: fmt.Errorf("%d operations were refused",
			s.refused)}
	}
	return nil
}

// carryOut carries out a line.
func (s *shell) carryOut(ctx context.Context, typed []string) error {
	if len(typed) == 0 {
		return nil
	}
	if len(typed) == 1 {
		switch typed[0] {
		case "help":
			_, err := io.WriteString(s.stderr, shellHelp)
			return err
		case "retry", "forget":
			last := s.doubtful
			if last == nil {
				return exit.Usagef("there is no operation whose outcome is unknown")
			}
			s.doubtful = nil
			if typed[0] == "forget" {
				return nil
			}
			return s.send(ctx, last)
		}
	}
	r, err := parseLine(typed)
	if err != nil {
		return err
	}
	if s.doubtful != nil && r.moves() {
		return exit.Usagef("the outcome of the %s before is unknown: retry it, or forget it",
			s.doubtful.operation)
	}
	return s.send(ctx, r)
}

func (s *shell) send(ctx context.Context, r *request) error {
	answer, err := r.send(ctx, s.c, s.timeout)
	var unknown *client.OutcomeUnknownError
	if errors.As(err, &unknown) {
		s.doubtful = r
		return &exit.Error{
			Code: exit.OutcomeUnknown, Request: r.id, Err: err,
			Advice: []string{"Money may have moved. Type retry: it happens once, however often " +
				"you do"},
		}
	}
	if err != nil {
		return err
	}
	return s.print(r, answer)
}
