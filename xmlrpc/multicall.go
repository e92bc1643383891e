package xmlrpc

import (
	"context"
	"slices"
)

// multicall carries out many calls, as in Eric Kidd's proposal
// (http://www.xmlrpc.com/discuss/msgReader$1208). It checks the form of all calls before it
// starts the first one. It starts them in order, and only then waits for the replies.
func (s *Server[C]) multicall(ctx context.Context, caller C, args []Value) Reply {
	if s.cfg.Multicall != nil {
		if fault := s.cfg.Multicall(caller); fault != nil {
			return refuse(fault)
		}
	}
	items := args[0].Items
	if len(items) > s.cfg.Limits.Calls {
		return refuse(faultf(InvalidRequest, "A multicall has more calls than the limit of %d",
			s.cfg.Limits.Calls))
	}
	calls := make([]call, len(items))
	for i := range items {
		var ok bool
		if calls[i], ok = unpacked(items[i]); !ok {
			return refuse(faultf(InvalidParams,
				"Call %d of the multicall is no struct of methodName, a string, and params, an "+
					"array", i+1))
		}
	}
	g := group[C]{
		s: s, replies: make([]Reply, 0, len(calls)), values: make([]Value, len(calls)),
		left: s.cfg.Limits.AnswerBytes - ShortAnswer*int64(len(calls)),
	}
	for _, c := range calls {
		if c.method == multicallMethod {
			g.add(refuse(&Fault{InvalidRequest, "A multicall cannot contain a multicall"}), 0)
			continue
		}
		g.begin(ctx, caller, c)
	}
	return g.results
}

// A group is the started calls of a multicall.
type group[C any] struct {
	s       *Server[C]
	replies []Reply
	asked   []int64 // the bytes reserved from left for each call; 0 for a short answer
	settled []Value // results of the first replies
	values  []Value // results that are not faults, each as an array of one element
	left    int64   // bytes left for answers that are not short, after all of asked
}

// begin starts a call, unless its answer might not fit.
func (g *group[C]) begin(ctx context.Context, caller C, c call) {
	need := g.s.need(c)
	if need <= ShortAnswer {
		g.add(g.s.begin(ctx, caller, c), 0)
		return
	}
	if need > g.left {
		g.settle() // most answers are smaller than their largest size
	}
	if need > g.left {
		m := g.s.methods[c.method]
		args, fault := m.arguments(c.args)
		if fault == nil {
			g.add(g.s.cfg.TooLarge(ctx, caller, m, args), 0)
			return
		}
		need = 0 // the refusal is short too
	}
	g.left -= need
	g.add(g.s.begin(ctx, caller, c), need)
}

func (g *group[C]) add(r Reply, need int64) {
	g.replies, g.asked = append(g.replies, r), append(g.asked, need)
}

// settle waits for all replies, and returns the unused part of their reservations.
func (g *group[C]) settle() {
	g.settled = slices.Grow(g.settled, len(g.replies)-len(g.settled))
	for i := len(g.settled); i < len(g.replies); i++ {
		v, fault := g.replies[i]()
		if fault != nil {
			g.settled = append(g.settled, fault.value())
		} else {
			g.values[i] = v
			g.settled = append(g.settled, ArrayValue(g.values[i:i+1:i+1]...))
		}
		if g.asked[i] > 0 {
			scratch := buffers.Get().(*[]byte)
			*scratch = appendValue((*scratch)[:0], g.settled[i])
			g.left += g.asked[i] - int64(len(*scratch))
			releaseBuffer(scratch)
		}
	}
}

// results waits for all replies.
func (g *group[C]) results() (Value, *Fault) {
	g.settle()
	return ArrayValue(g.settled...), nil
}

// unpacked parses one call of a multicall.
func unpacked(v Value) (call, bool) {
	name, _ := v.Member("methodName")
	params, _ := v.Member("params")
	ok := v.Kind == Struct && len(v.Members) == 2 && name.Kind == String && params.Kind == Array
	return call{name.Text, params.Items}, ok
}

// packed is one call of a multicall as a value.
func packed(c call) Value {
	return StructValue(
		Member{"methodName", StringValue(c.method)},
		Member{"params", ArrayValue(c.args...)},
	)
}
