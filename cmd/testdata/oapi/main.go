// Oapi speaks to a server by the client that oapi-codegen makes from its OpenAPI document, which is
// in the folder atmapi while a test runs.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"example.com/atm/cmd/testdata/oapi/atmapi"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, server, credentials string) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(credentials, "client.crt"),
		filepath.Join(credentials, "client.key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(credentials, "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c, err := atmapi.NewClientWithResponses(server, atmapi.WithHTTPClient(&http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: roots, Certificates: []tls.Certificate{cert},
		}},
	}))
	if err != nil {
		return err
	}
	var deposit atmapi.DepositArgs
	var withdraw, tooMuch atmapi.WithdrawArgs
	if err := errors.Join(
		deposit.Account.FromDepositArgsAccount0(100),
		deposit.Amount.FromDepositArgsAmount0("1001"),
		withdraw.Account.FromWithdrawArgsAccount0(100),
		withdraw.Amount.FromWithdrawArgsAmount1(392),
		tooMuch.Account.FromWithdrawArgsAccount1("100"),
		tooMuch.Amount.FromWithdrawArgsAmount0("999999.00"),
	); err != nil {
		return err
	}
	if err := balance(ctx, c); err != nil {
		return err
	}
	key := `"oapi-1"`
	for range 2 { // one intention
		put, err := c.DepositWithResponse(ctx, &atmapi.DepositParams{IdempotencyKey: &key}, deposit)
		if err != nil || put.JSON200 == nil {
			return fmt.Errorf("deposit: %v %s", err, put.Body)
		}
	}
	if err := balance(ctx, c); err != nil {
		return err
	}
	took, err := c.WithdrawWithResponse(ctx, nil, withdraw)
	if err != nil || took.JSON200 == nil {
		return fmt.Errorf("withdraw: %v %s", err, took.Body)
	}
	if err := balance(ctx, c); err != nil {
		return err
	}
	refused, err := c.WithdrawWithResponse(ctx, nil, tooMuch)
	if err != nil || refused.JSON409 == nil {
		return fmt.Errorf("withdraw: %v %s", err, refused.Body)
	}
	fmt.Println(refused.JSON409.Code, refused.JSON409.Reason)
	return nil
}

func balance(ctx context.Context, c *atmapi.ClientWithResponses) error {
	var args atmapi.InquiryArgs
	if err := args.Account.FromInquiryArgsAccount0(100); err != nil {
		return err
	}
	told, err := c.InquiryWithResponse(ctx, args)
	if err != nil || told.JSON200 == nil {
		return fmt.Errorf("inquiry: %v %s", err, told.Body)
	}
	fmt.Println(told.JSON200.Result)
	return nil
}
