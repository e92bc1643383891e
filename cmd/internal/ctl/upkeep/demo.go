package upkeep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/version"
	"github.com/spf13/cobra"
)

func demoCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show what the whole does, on a temporary server",
		Long: `Start a server in a temporary folder, make five calls, verify the audit log,
change one cent in a copy of the log, and watch the verification fail.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), env) },
	}
}

func runDemo(ctx context.Context, env *ctl.Env) (err error) {
	folder, err := os.MkdirTemp("", "atm-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	data := filepath.Join(folder, "atm-data")
	if err := demoServer(ctx, env, data); err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, "\nThe server has stopped. Its audit log:")
	original := filepath.Join(data, "audit")
	if err := demoVerify(ctx, env, original, audit.Verified); err != nil {
		return err
	}
	tampered := filepath.Join(folder, "copy")
	if err := os.CopyFS(tampered, os.DirFS(original)); err != nil {
		return err
	}
	index, err := flipCent(tampered)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "\nIn a copy of the log, one cent of entry %d is changed: 392.00 "+
		"becomes 392.01. The copy:\n", index)
	return demoVerify(ctx, env, tampered, audit.ContentDiffers)
}

// demoServer runs a server in data and makes the five calls.
func demoServer(ctx context.Context, env *ctl.Env, data string) error {
	listen, err := daemon.Addresses("localhost:0", "")
	if err != nil {
		return err
	}
	srv, err := daemon.Open(ctx, daemon.Options{
		Data: data, Version: version.String(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Grace: 5 * time.Second,
	})
	if err != nil {
		listen.Close()
		return err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(serving, listen) }()
	called := demoCalls(ctx, env, data, listen.RPC.Addr().(*net.TCPAddr).Port)
	stop()
	return errors.Join(called, <-served)
}

func demoCalls(ctx context.Context, env *ctl.Env, data string, port int) error {
	tls, err := client.InFolder(filepath.Join(data, "clients", "demo")).TLS()
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{Server: fmt.Sprintf("https://localhost:%d", port), TLS: tls})
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "A server of its own runs in %s.\n", data)
	for _, step := range []struct {
		op     atm.Operation
		amount atm.Amount
	}{
		{atm.Inquiry, 0},
		{atm.Deposit, 100100},
		{atm.Inquiry, 0},
		{atm.Withdraw, 39200},
		{atm.Inquiry, 0},
	} {
		var answer *client.Answer
		id := atm.RequestID(atm.NewUUID(time.Now()))
		switch step.op {
		case atm.Inquiry:
			fmt.Fprintf(env.Stdout, "$ atmclient localhost %d inquiry 100\n", port)
			answer, err = c.Inquiry(ctx, 100)
		case atm.Deposit:
			fmt.Fprintf(env.Stdout, "$ atmclient localhost %d deposit 100 %s\n", port, step.amount)
			answer, err = c.Deposit(ctx, 100, step.amount, id)
		case atm.Withdraw:
			fmt.Fprintf(env.Stdout, "$ atmclient localhost %d withdraw 100 %s\n", port, step.amount)
			answer, err = c.Withdraw(ctx, 100, step.amount, id)
		}
		if err != nil {
			return err
		}
		if !answer.OK() {
			return fmt.Errorf("%s: %s", step.op, answer.Reason)
		}
		if step.op == atm.Inquiry {
			fmt.Fprintf(env.Stdout, "Current value of account 100 is $%s\n", answer.Text())
		} else {
			fmt.Fprintf(env.Stdout, "Successful %s of $%s to account 100\n", step.op, step.amount)
		}
	}
	return nil
}

// demoVerify verifies a log and prints the outcome. An outcome other than want is an error.
func demoVerify(ctx context.Context, env *ctl.Env, dir string, want int) error {
	report, err := audit.Verify(ctx, audit.Dir(dir), audit.VerifyOptions{Now: time.Now()})
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "$ atmctl audit verify %s\n", dir)
	if report.OK() {
		fmt.Fprintf(env.Stdout, "verified: %s\n", report.Sentence)
	} else {
		fmt.Fprintf(env.Stdout, "not verified: %s (exit code %d)\n", report.Sentence, report.Code)
	}
	if report.Code != want {
		return fmt.Errorf("the verification of %s was to end with %d", dir, want)
	}
	return nil
}

// flipCent changes the amount of the withdrawal in the log in dir, and returns
// the index of its entry.
func flipCent(dir string) (index int64, err error) {
	err = filepath.WalkDir(filepath.Join(dir, "tile", "entries"),
		func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			bundle, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			before := []byte(`"amount":"392.00"`)
			at := bytes.Index(bundle, before)
			if at < 0 {
				return nil
			}
			index = int64(bytes.Count(bundle[:at], []byte(`"v":1`))) // each entry before it contains it once
			bundle[at+len(before)-2] = '1'
			return os.WriteFile(path, bundle, 0o600)
		})
	return index, err
}
