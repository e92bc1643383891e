package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/merkle"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/internal/durable"
)

// verifySnapshot holds the snapshot of the newest chapter of an archive against the entry about it,
// and reports one that is not the same. The snapshot is no part of the log, so that a verified log
// says nothing about it; but a rebuild begins with it.
func verifySnapshot(ctx context.Context, env *ctl.Env, a *archive.Archive,
	report *audit.Report,
) error {
	log, err := audit.OpenLogAt(ctx, a, report.Signed, report.Key)
	if err != nil {
		return err
	}
	taken, err := retention.Find(ctx, log, log.Size)
	if errors.Is(err, retention.ErrNotTaken) {
		env.Warn(err.Error() + ": nothing shows whether it is good")
		return nil
	}
	if err != nil {
		return err
	}
	_, sum, err := a.Snapshot(ctx, archive.Chapter{Checkpoint: log.Checkpoint},
		&atMost{taken.Bytes})
	got := merkle.Hash(sum).String()
	switch {
	case errors.Is(err, audit.ErrUnreachable):
		report.Code, report.Sentence = audit.CannotVerify, err.Error()
		return nil
	case errors.Is(err, fs.ErrNotExist):
		got = "missing"
	case errors.Is(err, durable.ErrNotRegular), errors.Is(err, audit.ErrTooLarge):
		got = err.Error()
	case err != nil:
		return err
	case merkle.Hash(sum) == taken.Sum:
		return nil
	}
	name := archive.SnapshotName(log.Size)
	report.Code = audit.ContentDiffers
	report.Sentence = fmt.Sprintf("%s is not the snapshot that the log names; the log itself is "+
		"good", name)
	report.FirstBad = &audit.Bad{
		File: name, Expected: merkle.Hash(taken.Sum).String(), Got: got,
	}
	return nil
}

// atMost takes so many bytes, and keeps none.
type atMost struct{ left int64 }

func (b *atMost) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, audit.ErrTooLarge
	}
	return len(p), nil
}
