package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/printable"
	"golang.org/x/mod/sumdb/tlog"
)

// saveReceipt fetches the proof of the operation that was just answered, and saves it if it
// proves that operation. It does not verify the signature, which needs the public key of the
// log.
func (o *options) saveReceipt(ctx context.Context, c *client.Client, done *client.Answer) error {
	var index int64
	var leafHash string
	if _, err := fmt.Sscan(done.Receipt, &index, &leafHash); err != nil {
		return fmt.Errorf("the answer has no receipt: %w", err)
	}
	leaf, err := tlog.ParseHash(leafHash)
	if err != nil {
		return fmt.Errorf("the answer has no receipt: %w", err)
	}
	answer, err := c.Receipt(ctx, index)
	if err != nil {
		return err
	}
	if err := exit.FromAnswer(answer); err != nil {
		return err
	}
	proof, err := audit.ParseProof([]byte(answer.Text()))
	if err == nil {
		err = proof.Proves(index, leaf)
	}
	if err != nil {
		return &exit.Error{Code: audit.ContentDiffers, Err: fmt.Errorf("the receipt was not "+
			"saved: %w", err)}
	}
	if err := output.Write(ctx, o.receipt, []byte(answer.Text()), 0o644); err != nil {
		return err
	}
	if !o.quiet {
		printable.Linef(o.stderr, "Receipt saved. Check it with: atmctl audit check %s "+
			"--leaf-hash %s%s",
			o.receipt, leafHash, keyOption(o.receipt))
	}
	return nil
}

// keyOption returns the flag that "atmctl audit check" needs for the log's key, or "" if it
// finds the key by itself.
func keyOption(receipt string) string {
	for _, folder := range []string{filepath.Dir(receipt), "atm-data/audit"} {
		if _, err := os.Stat(filepath.Join(folder, "log.vkey")); err == nil {
			return ""
		}
	}
	return " --vkey FILE, with the public key of the log in FILE"
}
