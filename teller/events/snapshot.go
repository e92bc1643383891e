package events

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault/ledger"
)

// A Snapshot is what the log says of a snapshot of the accounts.
type Snapshot struct {
	Size  int64       // entries of the log that it has seen
	Root  merkle.Hash // of the log then
	Bytes int64
	Sum   [sha256.Size]byte // SHA-256 of its file
}

// SnapshotTaken records that a snapshot of the accounts was taken, so that the signed log says
// which file is the one.
func SnapshotTaken(ctx context.Context, ledger *ledger.Ledger, s Snapshot) atm.Status {
	return note(ctx, ledger, audit.EventSnapshot,
		audit.Arg{Name: "size", Value: strconv.FormatInt(s.Size, 10)},
		audit.Arg{Name: "root", Value: s.Root.String()},
		audit.Arg{Name: "bytes", Value: strconv.FormatInt(s.Bytes, 10)},
		audit.Arg{Name: "sha256", Value: base64.StdEncoding.EncodeToString(s.Sum[:])})
}

// SnapshotOf reads what SnapshotTaken recorded. It reports false for any other entry.
func SnapshotOf(e *audit.Entry) (s Snapshot, is bool) {
	if e.Event != audit.EventSnapshot {
		return s, false
	}
	args := make(map[string]string, len(e.Args))
	for _, a := range e.Args {
		args[a.Name] = a.Value
	}
	size, errSize := strconv.ParseInt(args["size"], 10, 64)
	bytes, errBytes := strconv.ParseInt(args["bytes"], 10, 64)
	root, rooted := parseHash(args["root"])
	sum, summed := parseHash(args["sha256"])
	return Snapshot{Size: size, Root: root, Bytes: bytes, Sum: sum},
		errSize == nil && errBytes == nil && rooted && summed && size >= 0
}

// parseHash reads a hash in base64.
func parseHash(text string) (h merkle.Hash, ok bool) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data) != len(h) {
		return h, false
	}
	return merkle.Hash(data), true
}
