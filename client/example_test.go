package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/xmlrpc"
)

// counter is a server with account 100, which holds $1000.00 and never changes. It stands for a
// real one, so that the examples show what a client does.
func counter() (server *httptest.Server, connect func() *client.Client) {
	answer := func(status, code, reason, result string) xmlrpc.Reply {
		text := func(name, value string) xmlrpc.Member {
			return xmlrpc.Member{Name: name, Value: xmlrpc.StringValue(value)}
		}
		return func() (xmlrpc.Value, *xmlrpc.Fault) {
			return xmlrpc.StructValue(text("status", status), text("reason", reason),
				text("result", result), text("code", code), text("receipt", "")), nil
		}
	}
	account := xmlrpc.Param{Name: "account", Kinds: []xmlrpc.Kind{xmlrpc.String}}
	amount := xmlrpc.Param{Name: "amount", Kinds: []xmlrpc.Kind{xmlrpc.String}}
	request := xmlrpc.Param{Name: "request_id", Kinds: []xmlrpc.Kind{xmlrpc.String}}
	methods, err := xmlrpc.New([]xmlrpc.Method[string]{
		{
			Name: "inquiry", Help: "Says what an account holds.", Returns: xmlrpc.Struct,
			Params: []xmlrpc.Param{account},
			Handler: func(context.Context, string, []xmlrpc.Value) xmlrpc.Reply {
				return answer("OK", "OK", "", "1000.00")
			},
		},
		{
			Name: "withdraw", Help: "Takes money out.", Returns: xmlrpc.Struct,
			Params: []xmlrpc.Param{account, amount, request},
			Handler: func(context.Context, string, []xmlrpc.Value) xmlrpc.Reply {
				return answer("ERROR", "INSUFFICIENT_FUNDS", "Insufficient Funds", "")
			},
		},
	}, xmlrpc.Config[string]{})
	if err != nil {
		panic(err)
	}
	server = httptest.NewTLSServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { methods.ServeCall(w, r, "user:demo") }))
	return server, func() *client.Client {
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		c, err := client.New(client.Config{Server: server.URL, TLS: &tls.Config{RootCAs: roots}})
		if err != nil {
			panic(err)
		}
		return c
	}
}

// A client trusts the server by its certificate and asks for a balance.
func ExampleNew() {
	server, _ := counter()
	defer server.Close()

	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c, err := client.New(client.Config{Server: server.URL, TLS: &tls.Config{RootCAs: roots}})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := c.Inquiry(context.Background(), atm.AccountID(100))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Status(), answer.Text())
	// Output: OK 1000.00
}

// A refusal is an answer, not an error. Programs go by its code.
func ExampleClient_Withdraw() {
	server, connect := counter()
	defer server.Close()

	amount, code := atm.ParseAmount("5000.00")
	if code != atm.OK {
		fmt.Println(code)
		return
	}
	intention := atm.RequestID("rent-2026-12") // the same in each attempt to pay it
	answer, err := connect().Withdraw(context.Background(), 100, amount, intention)
	if err != nil {
		fmt.Println(err)
		return
	}
	if !answer.OK() {
		fmt.Println(answer.Code, "–", answer.Reason)
	}
	// Output: INSUFFICIENT_FUNDS – Insufficient Funds
}

// Many balances are one request.
func ExampleClient_Readings() {
	server, connect := counter()
	defer server.Close()

	answers, err := connect().Readings(context.Background(), []client.Reading{
		{Method: atm.Inquiry, Args: []any{"100"}},
		{Method: atm.Inquiry, Args: []any{"100"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, answer := range answers {
		fmt.Println(answer.Text())
	}
	// Output:
	// 1000.00
	// 1000.00
}

// If no answer comes, nobody knows yet whether money moved. The same request id tells: keep it,
// and call again.
func ExampleOutcomeUnknownError() {
	server, connect := counter()
	handler, lost := server.Config.Handler, false
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !lost { // the answer to the first call
			lost = true
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	})
	defer server.Close()

	// The client sends the call again by itself, with the same request id. Only when that
	// fails as well for as long as the context lasts, its error is an OutcomeUnknownError.
	answer, err := connect().Withdraw(context.Background(), 100, 500_000, "rent-2026-12")
	fmt.Println(answer.Code, err)
	// Output: INSUFFICIENT_FUNDS <nil>
}
