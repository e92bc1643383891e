package xmlrpc

import "context"

// multicall carries out many calls, as Eric Kidd's proposal has it
// (http://www.xmlrpc.com/discuss/msgReader$1208). It looks at all of them
// before the first one starts. They start in order, each to the point where
// nothing is left but to wait, and only then are the replies waited for.
func (s *Server[C]) multicall(ctx context.Context, caller C, args []Value) Reply {
	if s.cfg.Multicall != nil {
		if fault := s.cfg.Multicall(caller); fault != nil {
			return refuse(fault)
		}
	}
	items := args[0].Items
	if len(items) > s.cfg.Limits.Calls {
		return refuse(faultf(InvalidRequest, "A multicall has more calls than the limit of %d", s.cfg.Limits.Calls))
	}
	calls := make([]call, len(items))
	for i := range items {
		var ok bool
		if calls[i], ok = unpacked(items[i]); !ok {
			return refuse(faultf(InvalidParams,
				"Call %d of the multicall is no struct of methodName, a string, and params, an array", i+1))
		}
	}
	replies := make([]Reply, len(calls))
	for i, c := range calls {
		if c.method == multicallMethod {
			replies[i] = refuse(&Fault{InvalidRequest, "A multicall cannot contain a multicall"})
			continue
		}
		replies[i] = s.begin(ctx, caller, c)
	}
	return func() (Value, *Fault) {
		results, values := make([]Value, len(replies)), make([]Value, len(replies))
		for i, reply := range replies {
			var fault *Fault
			if values[i], fault = reply(); fault != nil {
				results[i] = fault.value()
			} else {
				results[i] = ArrayValue(values[i : i+1 : i+1]...)
			}
		}
		return ArrayValue(results...), nil
	}
}

// unpacked reads one call of a multicall.
func unpacked(v Value) (call, bool) {
	name, _ := v.Member("methodName")
	params, _ := v.Member("params")
	ok := v.Kind == Struct && len(v.Members) == 2 && name.Kind == String && params.Kind == Array
	return call{name.Text, params.Items}, ok
}

// packed is one call of a multicall.
func packed(c call) Value {
	return StructValue(
		Member{"methodName", StringValue(c.method)},
		Member{"params", ArrayValue(c.args...)},
	)
}
