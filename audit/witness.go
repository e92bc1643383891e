package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/policy"
	"example.com/atm/internal/durable"
)

// maxCosignatures bounds the answer of a witness, in bytes.
const maxCosignatures = 16 << 10

// Cosign asks a witness to cosign the checkpoint of the log (C2SP tlog-witness) and returns the
// signature lines. It follows no redirect, because only the policy may say where a witness is.
func (l *Log) Cosign(ctx context.Context, c *http.Client, w policy.Witness) ([]byte, error) {
	if w.URL == "" {
		return nil, fmt.Errorf("witness %s has no URL in the policy", w.Name)
	}
	direct := *c
	direct.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	c = &direct
	lines, size, err := l.submit(ctx, c, w, 0)
	if err == nil && size > 0 { // the witness has seen the log at this size
		lines, size, err = l.submit(ctx, c, w, size)
		if err == nil && size > 0 {
			err = errors.New("another client submitted a checkpoint at the same time")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("witness %s: %w", w.Name, err)
	}
	return lines, nil
}

// CosignAll asks all witnesses of a policy that have a URL. It returns the signature lines of
// those that cosigned, and an error for each that did not.
func (l *Log) CosignAll(ctx context.Context, c *http.Client, p *policy.Policy) (lines []byte,
	errs []error,
) {
	for _, w := range p.Witnesses {
		if w.URL == "" {
			continue
		}
		cosigned, err := l.Cosign(ctx, c, w)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		lines = append(lines, cosigned...)
	}
	return lines, errs
}

// submit sends the checkpoint and the proof that it extends the tree of size old. If the
// witness has seen another size, submit returns that size and no error.
func (l *Log) submit(ctx context.Context, c *http.Client, w policy.Witness, old int64) (
	lines []byte, size int64, err error,
) {
	proof, err := l.proveExtends(ctx, old)
	if err != nil {
		return nil, 0, err
	}
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	for _, h := range proof {
		body.WriteString(hashWord(h) + "\n")
	}
	body.WriteString("\n")
	body.Write(l.signed)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(w.URL, "/")+
		"/add-checkpoint", &body)
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxCosignatures))
	if err != nil {
		return nil, 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		lines, err := w.Lines(l.signed, answer)
		return lines, 0, err
	case http.StatusConflict:
		if resp.Header.Get("Content-Type") == "text/x.tlog.size" {
			size, err := strconv.ParseInt(strings.TrimSuffix(string(answer), "\n"), 10, 64)
			switch {
			case err != nil || size <= 0:
				return nil, 0, errors.New("it answers 409 without a size")
			case size > l.Size:
				return nil, 0, fmt.Errorf("it has seen the log with %d entries, now there are %d: "+
					"a rollback", size, l.Size)
			}
			return nil, size, nil
		}
		return nil, 0, errors.New("it has seen another tree of this size: a fork")
	case http.StatusNotFound:
		return nil, 0, errors.New("it does not know this log")
	case http.StatusForbidden:
		return nil, 0, errors.New("it does not know the key of this log")
	case http.StatusUnprocessableEntity:
		return nil, 0, errors.New("the log does not extend what it has seen: a fork")
	}
	if resp.StatusCode/100 == 3 {
		return nil, 0, fmt.Errorf("it answers %d, and redirects are not followed", resp.StatusCode)
	}
	return nil, 0, fmt.Errorf("it answers %s", resp.Status)
}

// SaveCosigned appends cosignatures to the checkpoint in the log's folder, unless the log has
// grown since it was opened. It also writes them to checkpoint.WitnessedFile, which stays until
// the next cosigned checkpoint.
func (l *Log) SaveCosigned(lines []byte) error {
	dir, local := folderOf(l.files)
	if !local {
		return errors.New("cosignatures are kept in a folder")
	}
	merged := l.WithCosignatures(lines)
	if err := durable.WriteFile(filepath.Join(string(dir), checkpoint.WitnessedFile), merged,
		0o600); err != nil {
		return err
	}
	path := filepath.Join(string(dir), checkpoint.File)
	// If a publisher writes between these two lines, it finds an older checkpoint in place of its
	// own, and publishes its own again.
	if now, err := readRegular(path, checkpoint.MaxBytes); err != nil ||
		!bytes.Equal(now, l.signed) {
		return err
	}
	return durable.WriteFile(path, merged, 0o600)
}

// WithCosignatures returns the log's signed checkpoint with cosignatures.
func (l *Log) WithCosignatures(lines []byte) []byte {
	merged := bytes.Clone(l.signed)
	for line := range strings.Lines(string(lines)) {
		if !strings.Contains(string(merged), line) {
			merged = append(merged, line...)
		}
	}
	return merged
}
