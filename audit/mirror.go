package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/policy"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MirrorPath is where a mirror has the copy of a log, below its monitoring prefix (C2SP
// tlog-mirror).
func MirrorPath(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// AskMirror reads the checkpoint that a mirror has of a log. The URL of w is the monitoring prefix
// of the mirror.
func AskMirror(ctx context.Context, c *http.Client, w policy.Witness, origin string) ([]byte,
	error,
) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(w.URL, "/")+"/"+
		MirrorPath(origin)+"/"+checkpoint.File, nil)
	if err != nil {
		return nil, err
	}
	direct := *c // only the policy may say where a mirror is
	direct.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	resp, err := direct.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, checkpoint.MaxBytes))
}

// Mirrored holds the checkpoint of a mirror, which is signed by one of the keys, against the log.
// It returns how many entries the mirror has copied, and when it said so. ErrDiffers says that a
// key of the log has signed another history.
func (l *Log) Mirrored(ctx context.Context, w policy.Witness, keys []string, signed []byte) (
	size int64, at time.Time, err error,
) {
	n, err := note.Open(signed, note.VerifierList(w.Verifier))
	if err != nil {
		return 0, at, errors.New("its checkpoint has no cosignature by its key")
	}
	if at, err = cosignature.CoSigV1Timestamp(n.Sigs[0]); err != nil {
		return 0, at, err
	}
	has, _, err := checkpoint.OpenAny(signed, keys)
	if err != nil {
		return 0, at, err
	}
	root := l.Root
	switch {
	case has.Size > l.Size:
		return 0, at, fmt.Errorf("it has %d entries, there are %d: %w", has.Size, l.Size,
			ErrDiffers)
	case has.Size == 0:
		return 0, at, nil
	case has.Size < l.Size:
		if root, err = tlog.TreeHash(has.Size, l.hashes(ctx)); err != nil {
			return 0, at, differs(err)
		}
	}
	if has.Root != root {
		return 0, at, fmt.Errorf("it has others among the first %d entries: %w", has.Size,
			ErrDiffers)
	}
	return has.Size, at, nil
}
