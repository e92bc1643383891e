package daemon

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
	"example.com/atm/internal/owner"
	"example.com/atm/teller"
	"example.com/atm/vault"
)

// Whoever owns the disk can do what the server can, so they need no credential to get a
// certificate: that is the way back when no operator has one that is good. It is an act of
// administration as any other, with an entry in the log.

// An Issuing is a certificate that is asked for in the data folder.
type Issuing struct {
	Subject string `json:"subject"`
	Roles   string `json:"roles"` // separated by spaces; empty for those it has
	Life    string `json:"life"`  // as for admin.cert.issue
	Request string `json:"request"`
}

// An IssuedFile is the answer.
type IssuedFile struct {
	Certificate string `json:"certificate,omitempty"`
	Authority   string `json:"authority,omitempty"`
	Serial      string `json:"serial,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	NotAfter    string `json:"not_after,omitempty"`
	Error       string `json:"error,omitempty"`
}

const (
	askedSuffix    = ".ask"
	answeredSuffix = ".answer"
	maxAsked       = 64 << 10 // bytes of a file
	maxAskedAtOnce = 16
	askedWait      = 15 * time.Second // for the answer of a running server
	askedEvery     = 100 * time.Millisecond
)

// Issue issues a client certificate in a data folder, of a stopped server or by one that runs
// on it. Somebody who is disabled is enabled.
func (f Folder) Issue(ctx context.Context, asked Issuing, log *slog.Logger) (IssuedFile, error) {
	dir, _, err := f.lock()
	if errors.Is(err, datadir.ErrInUse) {
		return f.ask(ctx, asked)
	}
	if err != nil {
		return IssuedFile{}, err
	}
	if err := dir.Close(); err != nil {
		return IssuedFile{}, err
	}
	h, err := Open(ctx, Options{Data: f.Data, Store: f.Store, Passphrase: f.Passphrase, Log: log})
	if err != nil {
		return IssuedFile{}, err
	}
	answer := h.issueAsked(ctx, asked)
	err = errors.Join(h.publisher.Publish(ctx), h.Close())
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	return answer, err
}

// ask leaves the request in the folder, where the server that runs on it looks each second.
func (f Folder) ask(ctx context.Context, asked Issuing) (IssuedFile, error) {
	dir := &datadir.Dir{Root: f.Data}
	if err := durable.MkdirAll(dir.Requests(), 0o700); err != nil {
		return IssuedFile{}, err
	}
	text, err := json.Marshal(asked)
	if err != nil {
		return IssuedFile{}, err
	}
	name := filepath.Join(dir.Requests(), rand.Text())
	if err := durable.CreateFile(name+askedSuffix, text, 0o600); err != nil {
		return IssuedFile{}, err
	}
	defer os.Remove(name + askedSuffix) // when nobody took it
	defer os.Remove(name + answeredSuffix)
	every := time.NewTicker(askedEvery)
	defer every.Stop()
	for begun := time.Now(); time.Since(begun) < askedWait; {
		select {
		case <-every.C:
		case <-ctx.Done():
			return IssuedFile{}, ctx.Err()
		}
		text, err := readAsked(name + answeredSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var answer IssuedFile
		if err == nil {
			err = json.Unmarshal(text, &answer)
		}
		if err == nil && answer.Error != "" {
			err = errors.New(answer.Error)
		}
		return answer, err
	}
	return IssuedFile{}, fmt.Errorf("the server that has %s did not answer within %v", f.Data,
		askedWait)
}

// readAsked reads a file in the folder of requests: a regular one of whom the server runs as, and
// not too long. Nobody else can write there; it is looked at all the same.
func readAsked(name string) ([]byte, error) {
	f, info, err := durable.OpenRegular(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	if os.Geteuid() != 0 && !owner.IsCallerOrRoot(info) {
		return nil, fmt.Errorf("%s is no file of this user", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxAsked+1))
	if err == nil && len(text) > maxAsked {
		err = fmt.Errorf("%s is too long", name)
	}
	return text, err
}

// answerAsked answers what is asked for in the data folder.
func (h *Server) answerAsked(ctx context.Context) {
	files, err := filepath.Glob(filepath.Join(h.dir.Requests(), "*"+askedSuffix))
	if err != nil {
		return
	}
	for _, file := range files[:min(len(files), maxAskedAtOnce)] {
		text, err := readAsked(file)
		// It is taken away first: what fails is not tried each second.
		if err := errors.Join(err, os.Remove(file)); err != nil {
			h.opts.Log.Warn("a request in the data folder is not answered", slog.Any("error", err))
			continue
		}
		var asked Issuing
		var answer IssuedFile
		if err = json.Unmarshal(text, &asked); err != nil {
			answer.Error = "the request has no known form"
		} else {
			answer = h.issueAsked(ctx, asked)
		}
		if text, err = json.Marshal(answer); err == nil {
			err = durable.WriteFile(strings.TrimSuffix(file, askedSuffix)+answeredSuffix,
				text, 0o600)
		}
		if err != nil {
			h.opts.Log.Error("a request in the data folder is not answered", slog.Any("error", err))
		}
	}
}

// issueAsked issues a certificate for whoever owns the disk.
func (h *Server) issueAsked(ctx context.Context, asked Issuing) IssuedFile {
	// A certificate says in whole seconds when it was issued. It must be younger than what
	// was revoked a moment ago.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	users, err := h.store.Users(ctx)
	if err != nil {
		return IssuedFile{Error: err.Error()}
	}
	if slices.ContainsFunc(users, func(u vault.User) bool {
		return u.Subject == asked.Subject && u.Disabled
	}) {
		if _, err := h.asOwner(ctx, atm.UserEnable, text(asked.Subject)); err != nil {
			return IssuedFile{Error: err.Error()}
		}
	}
	record, err := h.asOwner(ctx, atm.CertIssue, text(asked.Subject), text(asked.Request),
		text(asked.Roles), text(asked.Life))
	if err != nil {
		return IssuedFile{Error: err.Error()}
	}
	field := func(name string) string {
		s, _ := record.Get(name).(string)
		return s
	}
	return IssuedFile{
		Certificate: field("certificate"), Authority: field("authority"), Serial: field("serial"),
		SHA256: field("sha256"), NotAfter: field("not_after"),
	}
}

// systemOwner is whoever owns the disk that the data folder is on.
const systemOwner = "system:owner"

// asOwner carries out an operation in the name of whoever owns the disk.
func (h *Server) asOwner(ctx context.Context, op atm.Operation, args ...atm.Arg) (atm.Record,
	error,
) {
	return h.within(ctx, systemOwner, teller.Call{Operation: op, Args: args})
}
