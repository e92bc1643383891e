// Package remote reads a published log from a web server.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"example.com/atm/audit"
)

// A server that cannot reach its archive says so in a header of its answer, with status 503.
const (
	ArchiveHeader = "Audit-Archive"
	Unreachable   = "unreachable"
)

// Files is a log on a web server.
type Files struct {
	Client *http.Client
	Base   string // the URL that names are appended to, with a slash at its end
}

// A RefusedError is an answer of a server that refuses to serve a file.
type RefusedError struct {
	StatusCode int
	Sentence   string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the server refuses: %s (%d)", e.Sentence, e.StatusCode)
}

// maxSentence bounds how much of a refusal is read, in bytes.
const maxSentence = 512

// ReadFile implements audit.Files. A connection that breaks or stalls, and a status of 5xx, say
// nothing about the log: ReadFile asks once more, and then returns a *url.Error.
func (f Files) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := f.ask(ctx, name, limit)
	var lost *url.Error
	if errors.As(err, &lost) && ctx.Err() == nil {
		data, err = f.ask(ctx, name, limit)
	}
	return data, err
}

func (f Files) ask(ctx context.Context, name string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.Base+name, nil)
	if err != nil {
		return nil, err
	}
	resp, err := f.Client.Do(req)
	if err != nil {
		return nil, err // a *url.Error, which names the URL
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, &audit.FileError{Name: name, Err: fs.ErrNotExist}
	case resp.StatusCode != http.StatusOK:
		data, _ := io.ReadAll(io.LimitReader(resp.Body, maxSentence)) // may be cut short
		sentence, _, _ := strings.Cut(string(data), "\n")
		refused := &RefusedError{resp.StatusCode, sentence}
		if resp.Header.Get(ArchiveHeader) == Unreachable {
			return nil, fmt.Errorf("the archive of %s %w: %s", f.Base, audit.ErrUnreachable,
				sentence)
		}
		if resp.StatusCode >= http.StatusInternalServerError {
			return nil, &url.Error{Op: "Get", URL: f.Base + name, Err: errors.New(refused.Error())}
		}
		return nil, refused
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, &url.Error{Op: "Get", URL: f.Base + name, Err: err}
	case int64(len(data)) > limit:
		return nil, &audit.FileError{Name: name, Err: audit.ErrTooLarge}
	}
	return data, nil
}
