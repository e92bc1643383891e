// Atm moves money with kolo/xmlrpc, signed in by client certificate.
//
// usage: atm [URL [FOLDER]]
//
// A program in Go has less to do with package example.com/atm/client, which
// makes request ids and retries by itself.
package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/kolo/xmlrpc"
)

// status is the answer of every operation of which the result is a string.
type status struct {
	Status  string `xmlrpc:"status"`
	Reason  string `xmlrpc:"reason"`
	Result  string `xmlrpc:"result"`
	Code    string `xmlrpc:"code"`
	Receipt string `xmlrpc:"receipt"`
}

func main() {
	log.SetFlags(0)
	url, folder := "https://localhost:9000/RPC2", "atm-data/clients/demo"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if len(os.Args) > 2 {
		folder = os.Args[2]
	}
	if err := run(url, folder); err != nil {
		log.Fatal(err)
	}
}

func run(url, folder string) error {
	atm, err := connect(url, folder)
	if err != nil {
		return err
	}
	defer atm.Close()

	balance, err := call(atm, "inquiry", 100)
	if err != nil {
		return err
	}
	fmt.Println("balance", balance.Result)

	// The request id makes it safe to ask again when an answer got lost.
	order := rand.Text()
	first, err := call(atm, "deposit", 100, "12.50", order)
	if err != nil {
		return err
	}
	fmt.Println("deposited 12.50, balance", first.Result)
	again, err := call(atm, "deposit", 100, "12.50", order)
	if err != nil {
		return err
	}
	if again == first {
		fmt.Println("asked again, deposited once")
	}

	left, err := call(atm, "withdraw", 100, "12.50", rand.Text())
	if err != nil {
		return err
	}
	fmt.Println("withdrew 12.50, balance", left.Result)

	// An operation that is refused answers; it is no error of the call.
	refused, err := call(atm, "withdraw", 100, "1000000.00", rand.Text())
	if err != nil {
		return err
	}
	fmt.Println("refused:", refused.Reason)

	// net/rpc, which kolo/xmlrpc is built on, makes a text of a fault.
	var code int
	_, err = call(atm, "no_such_method")
	if _, unlike := fmt.Sscanf(fmt.Sprint(err), "Fault(%d)", &code); unlike != nil {
		return err
	}
	fmt.Println("fault", code)
	return nil
}

// connect returns a client with the credentials in folder.
func connect(url, folder string) (*xmlrpc.Client, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "client.crt"),
		filepath.Join(folder, "client.key"))
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("no certificate in %s/ca.crt", folder)
	}
	return xmlrpc.NewClient(url, &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{certificate},
	}})
}

func call(atm *xmlrpc.Client, method string, args ...any) (status, error) {
	var answer status
	err := atm.Call(method, args, &answer)
	return answer, err
}
