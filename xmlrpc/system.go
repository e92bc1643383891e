package xmlrpc

import "context"

const (
	multicallMethod = "system.multicall"
	helpMethod      = "system.methodHelp"
)

// system returns the system methods. Their forms are defined by
// http://xmlrpc-c.sourceforge.net/introspection.html and, for getCapabilities, by
// http://tech.groups.yahoo.com/group/xml-rpc/message/2897.
func (s *Server[C]) system() []Method[C] {
	name := []Param{{Name: "name", Kinds: []Kind{String}, Help: "Name of a method."}}
	example := []Value{StringValue(helpMethod)}
	return []Method[C]{
		{
			Name: "system.listMethods", Returns: Array,
			Help: "Lists the names of all methods.",
			Handler: func(context.Context, C, []Value) Reply {
				names := make([]Value, len(s.names))
				for i, name := range s.names {
					names[i] = StringValue(name)
				}
				return answer(ArrayValue(names...))
			},
		},
		{
			Name: helpMethod, Params: name, Returns: String, Example: example,
			Help: "Tells what a method does.",
			Handler: func(_ context.Context, _ C, args []Value) Reply {
				m, fault := s.lookUp(args[0].Text)
				if fault != nil {
					return refuse(fault)
				}
				return answer(StringValue(m.Help))
			},
		},
		{
			Name: "system.methodSignature", Params: name, Returns: Array, Example: example,
			Help: "Lists the signatures of a method, each an array of types, that of the result " +
				"first.",
			Handler: func(_ context.Context, _ C, args []Value) Reply {
				m, fault := s.lookUp(args[0].Text)
				if fault != nil {
					return refuse(fault)
				}
				return answer(m.signatures())
			},
		},
		{
			Name: multicallMethod, Returns: Array,
			Params: []Param{{
				Name: "calls", Kinds: []Kind{Array},
				Help: "Structs of methodName, a string, and params, an array.",
			}},
			Example: []Value{ArrayValue(packed(call{helpMethod, example}))},
			Help: "Carries out calls in order. Each result is an array of one value, or a struct " +
				"of faultCode " +
				"and faultString. Nothing is carried out when one of the calls is not such a " +
				"struct.",
			Handler: s.multicall,
		},
		{
			Name: "system.getCapabilities", Returns: Struct,
			Help: "Tells which specifications the server follows.",
			Handler: func(context.Context, C, []Value) Reply {
				return answer(StructValue(
					capability("xmlrpc", "http://www.xmlrpc.com/spec", 1),
					capability("faults_interop",
						"http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php", 20010516),
					capability("introspection",
						"http://xmlrpc-c.sourceforge.net/introspection.html", 1),
					capability("system.multicall", "http://www.xmlrpc.com/discuss/msgReader$1208",
						1),
					capability("nil", "http://www.ontosys.com/xml-rpc/extensions.php", 20010518),
				))
			},
		},
	}
}

func capability(name, url string, version int64) Member {
	return Member{name, StructValue(
		Member{"specUrl", StringValue(url)},
		Member{"specVersion", IntValue(version)},
	)}
}
