package server

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"example.com/atm"
	"example.com/atm/auth/signature"
	"example.com/atm/internal/budget"
	"example.com/atm/server/metrics"
	"example.com/atm/teller"
)

// calls are the way of a call to the teller, whatever its caller speaks. Each is counted, logged
// and recorded, within bounds on the memory that all of them share.
type calls struct {
	teller  *teller.Teller
	metrics *metrics.Metrics
	log     *slog.Logger
	keep    func(*signature.Record, *x509.Certificate, []byte) error
	again   func(http.ResponseWriter, *http.Request, *atm.Caller) *atm.Caller
	answers *budget.Budget // bytes of answers in transit
	bodies  *budget.Budget // bytes of large bodies of callers
}

// newCalls returns the way of calls. again checks the sender of a call again when its body has
// arrived.
func newCalls(cfg *Config, again func(http.ResponseWriter, *http.Request, *atm.Caller) *atm.Caller,
) *calls {
	return &calls{
		teller: cfg.Teller, metrics: cfg.Metrics, log: cfg.Log, again: again,
		keep: cfg.KeepSigned,
		bodies: budget.New(max(bodiesBytes, 2*cfg.Limits.BodyBytes),
			max(bodiesShare, cfg.Limits.BodyBytes)),
		answers: budget.New(max(answersBytes, 2*cfg.Limits.AnswerBytes),
			max(answersShare, cfg.Limits.AnswerBytes)),
	}
}

// checked checks the sender of a call again when the body has arrived, and its signature if it has
// one; or it answers and returns false.
func (c *calls) checked(w http.ResponseWriter, r *http.Request, in *session, body []byte) bool {
	in.caller = c.again(w, r, in.caller)
	return in.caller != nil && c.proven(w, r, in, body)
}

// noKeyOnMulticall refuses a multicall with a request id in its header, because one id cannot
// identify many intentions.
func noKeyOnMulticall(in *session) string {
	if in.key == "" {
		return ""
	}
	return "Idempotency-Key does not go with a multicall: give each call a request_id"
}

// begin starts a call, counts it and logs it. If it returns an error, there was no operation,
// and the reply waits until that is recorded.
func (c *calls) begin(ctx context.Context, in *session, call teller.Call) (teller.Reply, error) {
	if in.unsigned != nil {
		return c.refused(ctx, in, call, in.unsigned), in.unsigned
	}
	begun := time.Now()
	reply, err := c.teller.Begin(ctx, in.caller, call)
	if errors.Is(err, teller.ErrUnavailable) {
		c.log.WarnContext(ctx, "operation could not read",
			slog.String("op", string(call.Operation)), slog.String("trace", in.trace),
			slog.Any("error", err))
		reply, err = func() atm.Status { return teller.Unavailable }, nil
	}
	if err != nil {
		return c.refused(ctx, in, call, err), err
	}
	return func() atm.Status {
		status := reply()
		elapsed := time.Since(begun)
		c.metrics.Operation(call.Operation, status.Code, elapsed)
		if c.log.Enabled(ctx, slog.LevelDebug) {
			c.log.DebugContext(ctx, "operation done",
				slog.String("op", string(call.Operation)),
				slog.String("code", string(status.Code)),
				slog.String("subject", in.caller.Subject),
				slog.String("receipt", status.Receipt),
				slog.String("trace", in.trace), slog.Duration("elapsed", elapsed))
		}
		return status
	}, nil
}

// Memory for answers that are being sent, except short ones. A caller that stops reading is cut
// off after StallTimeout.
const (
	answersBytes = 32 << 20 // for all callers
	answersShare = 4 << 20  // for one caller, over all its connections: two of the largest answers
	answersWait  = 2 * time.Second
)

// holdAnswer reserves memory for an answer.
func (c *calls) holdAnswer(in *session, bytes int64) (release func(), ok bool) {
	return c.answers.Take(in.caller.Subject, bytes, answersWait)
}

// Memory for bodies that are arriving or wait for their turn, except small ones.
const (
	smallBody   = 16 << 10
	bodiesBytes = 64 << 20 // for all callers
	bodiesShare = 16 << 20 // for one caller, over all its connections
)

// holdBody reserves memory for the body of a call.
func (c *calls) holdBody(caller *atm.Caller, bytes int64) (release func(), ok bool) {
	if bytes <= smallBody {
		return func() {}, true
	}
	return c.bodies.Take(caller.Subject, bytes, answersWait)
}

// refuseLarge answers a call whose answer might not fit into the answer of its multicall.
func (c *calls) refuseLarge(ctx context.Context, in *session, op atm.Operation,
	args []atm.Arg,
) teller.Reply {
	recorded := c.teller.TooLarge(ctx, in.caller, teller.Call{Operation: op, Args: args})
	return func() atm.Status {
		status := recorded()
		c.metrics.Operation(op, status.Code, 0)
		return status
	}
}

// refused begins to record a call that did not become an operation.
func (c *calls) refused(ctx context.Context, in *session, call teller.Call,
	err error,
) teller.Reply {
	if !isMalformed(err) {
		c.log.ErrorContext(ctx, "operation could not begin",
			slog.String("op", string(call.Operation)), slog.String("trace", in.trace),
			slog.Any("error", err))
	}
	c.metrics.Operation(call.Operation, atm.Fault, 0)
	return c.teller.Malformed(ctx, in.caller, call, sentence(err))
}

// recordFault begins to record a call that the protocol refused.
func (c *calls) recordFault(ctx context.Context, in *session, op atm.Operation, args []atm.Arg,
	text string,
) teller.Reply {
	c.metrics.Operation(op, atm.Fault, 0)
	return c.teller.Malformed(ctx, in.caller, teller.Call{Operation: op, Args: args}, text)
}

// isMalformed reports whether an error of begin is the caller's fault.
func isMalformed(err error) bool {
	var bad *teller.MalformedError
	var unsigned *unsignedError
	return errors.As(err, &bad) || errors.As(err, &unsigned)
}

// sentence says to the caller why there was no operation, without internals.
func sentence(err error) string {
	if isMalformed(err) {
		return err.Error()
	}
	return "Internal error"
}
