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

// inquiry answers as the server does if account 100 has 1000.00.
func inquiry(context.Context, string, []xmlrpc.Value) xmlrpc.Reply {
	text := func(name, value string) xmlrpc.Member {
		return xmlrpc.Member{Name: name, Value: xmlrpc.StringValue(value)}
	}
	return func() (xmlrpc.Value, *xmlrpc.Fault) {
		return xmlrpc.StructValue(text("status", "OK"), text("reason", ""),
			text("result", "1000.00"), text("code", "OK"), text("receipt", "")), nil
	}
}

// A client trusts the server by its certificate and asks for a balance.
func ExampleClient_Inquiry() {
	methods, err := xmlrpc.New([]xmlrpc.Method[string]{{
		Name: "inquiry", Help: "Says what an account holds.", Returns: xmlrpc.Struct,
		Params: []xmlrpc.Param{
			{Name: "account", Kinds: []xmlrpc.Kind{xmlrpc.String, xmlrpc.Int}},
		},
		Handler: inquiry,
	}}, xmlrpc.Config[string]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewTLSServer(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { methods.ServeCall(w, r, "user:demo") }))
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
