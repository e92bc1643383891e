package xmlrpc_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"example.com/atm/xmlrpc"
)

// A method is declared once. Its caller is authenticated before ServeCall is called.
func ExampleNew() {
	greet := xmlrpc.Method[string]{
		Name: "greet", Help: "Greets somebody.", Returns: xmlrpc.String,
		Params: []xmlrpc.Param{{Name: "name", Kinds: []xmlrpc.Kind{xmlrpc.String}}},
		Handler: func(_ context.Context, caller string, args []xmlrpc.Value) xmlrpc.Reply {
			return func() (xmlrpc.Value, *xmlrpc.Fault) {
				return xmlrpc.StringValue(caller + " greets " + args[0].Text), nil
			}
		},
	}
	server, err := xmlrpc.New([]xmlrpc.Method[string]{greet}, xmlrpc.Config[string]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	call := `<methodCall><methodName>greet</methodName><params><param><value>Ada</value></param>` +
		`</params></methodCall>`
	answer := httptest.NewRecorder()
	request := httptest.NewRequest("POST", "/RPC2", strings.NewReader(call))
	request.Header.Set("Content-Type", "text/xml")
	server.ServeCall(answer, request, "Grace")
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), "Grace greets Ada"))
	// Output: 200 true
}
