package jsonapi

import (
	"context"
	"fmt"
	"net/http"
)

// calls reads the calls of a multicall. All of them are checked before the first one starts.
func (s *Server[C]) calls(body *value) ([]call, *refusal) {
	list := body.get("calls")
	if list.kind != array || len(body.members) != 1 {
		return nil, unprocessable(`A multicall is an object with the member "calls" alone, an array`)
	}
	if len(list.items) > s.cfg.Limits.Calls {
		return nil, unprocessable("A multicall has more calls than the limit of %d",
			s.cfg.Limits.Calls)
	}
	calls := make([]call, len(list.items))
	for i := range list.items {
		item := &list.items[i]
		name, params := item.get("method"), item.get("params")
		known := 1
		if params.kind == object {
			known++
		}
		if item.kind != object || name.kind != text || len(item.members) != known {
			return nil, unprocessable("Call %d of the multicall is no object of method, a string, "+
				"and params, an object", i+1)
		}
		calls[i] = call{name.text, params}
	}
	return calls, nil
}

func unprocessable(format string, args ...any) *refusal {
	return &refusal{http.StatusUnprocessableEntity, fmt.Sprintf(format, args...)}
}

// multicall carries out calls and appends the answer to dst. It starts them in order, and waits for
// their replies only then, or when it must know how much of the answer is left.
func (s *Server[C]) multicall(ctx context.Context, dst []byte, caller C, calls []call) []byte {
	b := batch{
		dst:  append(dst, `{"results":[`...),
		left: s.cfg.Limits.AnswerBytes - shortAnswer*int64(len(calls)),
	}
	for i := range calls {
		c := &calls[i]
		need := s.need(c)
		if need <= shortAnswer {
			b.add(s.begin(ctx, caller, c), 0)
			continue
		}
		if need > b.left {
			b.settle() // most answers are smaller than their largest size
		}
		if need > b.left {
			m := s.methods[c.method]
			if args, wrong := m.arguments(&c.params); wrong == "" {
				b.add(s.cfg.TooLarge(ctx, caller, m, args), 0)
				continue
			}
			need = 0 // the refusal is short too
		}
		b.left -= need
		b.add(s.begin(ctx, caller, c), need)
	}
	b.settle()
	return append(b.dst, "]}"...)
}

// A batch is the started calls of a multicall. Its dst has the answers of those that were waited
// for.
type batch struct {
	dst     []byte
	written bool // dst has an answer
	begun   []Reply
	asked   []int64 // the bytes reserved from left for each of begun; 0 for a short answer
	left    int64   // bytes left for answers that are not short, after all of asked
}

func (b *batch) add(r Reply, need int64) {
	b.begun, b.asked = append(b.begun, r), append(b.asked, need)
}

// settle waits for all replies, and returns the unused part of their reservations.
func (b *batch) settle() {
	for i, reply := range b.begun {
		if b.written {
			b.dst = append(b.dst, ',')
		}
		a := reply()
		before := len(b.dst)
		b.dst, b.written = appendDict(b.dst, &a), true
		if b.asked[i] > 0 {
			b.left += b.asked[i] - int64(len(b.dst)-before)
		}
	}
	b.begun, b.asked = b.begun[:0], b.asked[:0]
}
