// Package inbox passes requests to the server that runs on a data folder, through files in that
// folder.
//
// The owner of the disk can do everything that the server can, so a request in the inbox needs
// no credential. A request is a file. The server removes the file before it acts, and writes
// the answer to another file.
package inbox

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
	"strings"
	"time"

	"example.com/atm/internal/durable"
	"example.com/atm/internal/owner"
)

// An Issuing is a request for a client certificate.
type Issuing struct {
	Subject string `json:"subject"`
	Roles   string `json:"roles"` // separated by spaces; empty keeps the subject's roles
	Life    string `json:"life"`  // as for admin.cert.issue
	Request string `json:"request"`
}

// An Issued is the answer to an Issuing.
type Issued struct {
	Certificate string `json:"certificate,omitempty"`
	Authority   string `json:"authority,omitempty"`
	Serial      string `json:"serial,omitempty"`
	SHA256      string `json:"sha256,omitempty"`
	NotAfter    string `json:"not_after,omitempty"`
	Error       string `json:"error,omitempty"`
}

// Err is the error in the answer, or nil.
func (i Issued) Err() error {
	if i.Error == "" {
		return nil
	}
	return errors.New(i.Error)
}

const (
	requestSuffix   = ".ask"
	answerSuffix    = ".answer"
	maxBytes        = 64 << 10 // of a file
	maxAtOnce       = 16
	answerWait      = 15 * time.Second // how long a request waits for its answer
	answerLookEvery = 100 * time.Millisecond
)

// Ask writes a request to folder and waits for the answer of the server.
func Ask(ctx context.Context, folder string, request Issuing) (Issued, error) {
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return Issued{}, err
	}
	text, err := json.Marshal(request)
	if err != nil {
		return Issued{}, err
	}
	name := filepath.Join(folder, rand.Text())
	if err := durable.CreateFile(name+requestSuffix, text, 0o600); err != nil {
		return Issued{}, err
	}
	defer os.Remove(name + requestSuffix) // if no server has taken it
	defer os.Remove(name + answerSuffix)
	every := time.NewTicker(answerLookEvery)
	defer every.Stop()
	for begun := time.Now(); time.Since(begun) < answerWait; {
		select {
		case <-every.C:
		case <-ctx.Done():
			return Issued{}, ctx.Err()
		}
		text, err := read(name + answerSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var answer Issued
		if err == nil {
			err = json.Unmarshal(text, &answer)
		}
		return answer, errors.Join(err, answer.Err())
	}
	return Issued{}, fmt.Errorf("the server that has %s did not answer within %v",
		filepath.Dir(folder), answerWait)
}

// Answer answers the requests in folder.
func Answer(ctx context.Context, folder string, log *slog.Logger,
	issue func(context.Context, Issuing) Issued,
) {
	names, err := fs.Glob(os.DirFS(folder), "*"+requestSuffix)
	if err != nil {
		return
	}
	for _, name := range names[:min(len(names), maxAtOnce)] {
		file := filepath.Join(folder, name)
		text, err := read(file)
		// Remove the request first, so that a failing one is not tried every second.
		if err := errors.Join(err, os.Remove(file)); err != nil {
			log.Warn("a request in the data folder is not answered", slog.Any("error", err))
			continue
		}
		var request Issuing
		answer := Issued{Error: "the request has no known form"}
		if json.Unmarshal(text, &request) == nil {
			answer = issue(ctx, request)
		}
		if text, err = json.Marshal(answer); err == nil {
			err = durable.WriteFile(strings.TrimSuffix(file, requestSuffix)+answerSuffix, text,
				0o600)
		}
		if err != nil {
			log.Error("a request in the data folder is not answered", slog.Any("error", err))
		}
	}
}

// read reads a file of the inbox. It must be a small regular file that belongs to the user of
// the server. Other users cannot write to the folder, but read checks the owner as well.
func read(name string) ([]byte, error) {
	f, info, err := durable.OpenRegular(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	if os.Geteuid() != 0 && !owner.IsCallerOrRoot(info) {
		return nil, fmt.Errorf("%s is not a file of this user", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(text) > maxBytes {
		err = fmt.Errorf("%s is too long", name)
	}
	return text, err
}
