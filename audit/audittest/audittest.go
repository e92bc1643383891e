// Package audittest is shared by the tests of audit and of the packages below it: a log as in a
// vault, and ways to publish it and to damage what was published.
package audittest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/publish"
	"golang.org/x/mod/sumdb/note"
)

// Origin is the name of each Log.
const Origin = "log.example"

// Time is the time of the entries of rotations.
var Time = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// A Log is a log as in a vault. It implements audit.Source.
type Log struct {
	Signer     *checkpoint.Signer
	SecretKey  string // the newest of Signer, one of each algorithm
	Leaves     [][]byte
	Head       merkle.Head
	Checkpoint []byte

	trimmed int64           // where its entries begin
	edge    [][]merkle.Hash // of the tree of trimmed entries
}

// New returns an empty log with a key of its own.
func New(t testing.TB) *Log {
	t.Helper()
	skey, _, err := checkpoint.GenerateKey(Origin)
	if err != nil {
		t.Fatal(err)
	}
	return WithKey(t, skey)
}

// NewPair returns an empty log with keys of both algorithms.
func NewPair(t testing.TB) *Log {
	t.Helper()
	skeys, _, err := checkpoint.GenerateKeys(Origin)
	if err != nil {
		t.Fatal(err)
	}
	return WithKey(t, skeys)
}

// NewOf returns a log of n entries with a key of its own.
func NewOf(t testing.TB, n int) *Log {
	t.Helper()
	l := New(t)
	l.Grow(t, n)
	return l
}

// WithKey returns an empty log with the secret key skey.
func WithKey(t testing.TB, skey string) *Log {
	t.Helper()
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &Log{Signer: signer, SecretKey: skey}
}

// NewBusy returns a log of n operations on a thousand accounts, one a second. Every 10,000th
// operation is a refusal on account 7777777.
func NewBusy(t testing.TB, n int) *Log {
	t.Helper()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	leaves := make([][]byte, n)
	for i := range leaves {
		user := fmt.Sprintf("user:u%d", i%50)
		e := audit.Entry{
			ID: atm.NewUUID(begin), Time: begin.Add(time.Duration(i) * time.Second),
			Event: audit.EventOp, Operation: atm.Deposit,
			Args: []audit.Arg{
				{Name: "account", Value: fmt.Sprint(i % 1000)}, {Name: "amount", Value: "5.00"},
			},
			Status:   &atm.Status{Code: atm.OK, Result: "5.00"},
			Caller:   &atm.Caller{Principal: atm.Principal{Subject: user}},
			ReplayOf: -1,
		}
		if i%10_000 == 9_999 {
			e.Operation, e.Args[0].Value = atm.Withdraw, "7777777"
			e.Status = &atm.Status{Code: atm.InsufficientFunds, Reason: `no "money"`}
		}
		leaf, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaves[i] = leaf
	}
	l := New(t)
	l.Add(t, leaves...)
	return l
}

// Grow adds n entries of a realistic size and signs once.
func (l *Log) Grow(t testing.TB, n int) {
	t.Helper()
	var leaves [][]byte
	for i := range n {
		leaves = append(leaves, fmt.Appendf(nil,
			`{"amount":"392.00","id":%d,"t":"2026-11-25T00:00:00.000000Z","v":1}`,
			len(l.Leaves)+i))
	}
	l.Add(t, leaves...)
}

// Add adds leaves and signs once.
func (l *Log) Add(t testing.TB, leaves ...[]byte) {
	t.Helper()
	hashes := make([]merkle.Hash, len(leaves))
	for i, leaf := range leaves {
		hashes[i] = merkle.LeafHash(leaf)
	}
	l.Leaves = append(l.Leaves, leaves...)
	l.Sign(t, l.Head.Append(hashes...))
}

// Sign replaces the head by head and signs it.
func (l *Log) Sign(t testing.TB, head merkle.Head) {
	t.Helper()
	signed, err := l.Signer.Sign(l.Checkpoint, l.Head, head)
	if err != nil {
		t.Fatal(err)
	}
	l.Head, l.Checkpoint = head, signed
}

// At returns the log as it was at size n, signed by the same key.
func (l *Log) At(t testing.TB, n int) *Log {
	t.Helper()
	old := &Log{Signer: l.Signer, SecretKey: l.SecretKey}
	old.Add(t, l.Leaves[:n]...)
	return old
}

// Clone returns a copy of l that grows separately, with the same key.
func (l *Log) Clone() *Log {
	clone := *l
	clone.Leaves = slices.Clip(clone.Leaves)
	return &clone
}

// Forked returns a log of n entries with the same key and another entry 5.
func (l *Log) Forked(t testing.TB, n int) *Log {
	t.Helper()
	forked := &Log{Signer: l.Signer, SecretKey: l.SecretKey}
	leaves := NewOf(t, n).Leaves
	leaves[5] = []byte("another")
	forked.Add(t, leaves...)
	return forked
}

// Rotate adds another signing key beside the current one, and the entry that records it.
func (l *Log) Rotate(t testing.TB) {
	t.Helper()
	l.Say(t, l.NextKey(t))
}

// RotatePair is Rotate with new keys of both algorithms.
func (l *Log) RotatePair(t testing.TB) {
	t.Helper()
	skeys, _, err := checkpoint.GenerateKeys(Origin)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range l.follow(t, skeys) {
		l.Say(t, r)
	}
}

// NextKey adds another Ed25519 key, which signs from the next checkpoint on.
func (l *Log) NextKey(t testing.TB) checkpoint.Rotation {
	t.Helper()
	skey, _, err := checkpoint.GenerateKey(Origin)
	if err != nil {
		t.Fatal(err)
	}
	return l.follow(t, skey)[0]
}

// follow makes the keys skey sign beside the current ones.
func (l *Log) follow(t testing.TB, skey string) []checkpoint.Rotation {
	t.Helper()
	next, err := checkpoint.NewSigner(skey + "\n" + l.SecretKey)
	if err != nil {
		t.Fatal(err)
	}
	rotations, err := l.Signer.Rotations(next)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Signer.Adopt(next); err != nil {
		t.Fatal(err)
	}
	l.SecretKey = skey
	return rotations
}

// Say adds the entry of a rotation.
func (l *Log) Say(t testing.TB, r checkpoint.Rotation) {
	t.Helper()
	entry := audit.Entry{Time: Time, Event: audit.EventKeyRotate, Args: audit.RotationArgs(r)}
	leaf, err := entry.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Add(t, leaf)
}

// Signed implements audit.Source.
func (l *Log) Signed(context.Context) ([]byte, merkle.Head, error) {
	return l.Checkpoint, l.Head, nil
}

// Base implements audit.Source.
func (l *Log) Base(context.Context) (int64, [][]merkle.Hash, error) {
	return l.trimmed, l.edge, nil
}

// Trim makes the log forget the entries before base, as a vault does that is trimmed.
func (l *Log) Trim(t testing.TB, base int64) {
	t.Helper()
	b := merkle.Builder{}
	for _, leaf := range l.Leaves[:base] {
		if err := b.AddHash(merkle.LeafHash(leaf)); err != nil {
			t.Fatal(err)
		}
	}
	l.trimmed, l.edge = base, b.Edge
}

// Entries implements audit.Source.
func (l *Log) Entries(_ context.Context, from, to int64, yield func(int64, []byte) error) error {
	if from < l.trimmed {
		return fmt.Errorf("entry %d was asked for, the log begins at %d", from, l.trimmed)
	}
	for i := from; i < to; i++ {
		if err := yield(i, l.Leaves[i]); err != nil {
			return err
		}
	}
	return nil
}

// Warnings collects the messages of a publisher.
type Warnings struct{ strings.Builder }

// Logger returns a logger into w.
func (w *Warnings) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// NewPublisher returns a publisher of l into dir.
func NewPublisher(t testing.TB, dir string, l *Log) (*publish.Publisher, *Warnings) {
	t.Helper()
	var w Warnings
	p, err := publish.New(publish.Config{
		Dir: dir, Keys: l.Signer.AllKeys, Complete: l.Signer.Complete, Source: l, Log: w.Logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, &w
}

// PublishIn publishes l in the folder dir, as a starting server does.
func PublishIn(t testing.TB, dir string, l *Log) *publish.Publisher {
	t.Helper()
	p, _ := NewPublisher(t, dir, l)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Tidy()
	return p
}

// Publish publishes a new log into a new folder, in one round for each of the sizes.
func Publish(t testing.TB, sizes ...int) (*Log, string) {
	t.Helper()
	l, dir := New(t), t.TempDir()
	p := PublishIn(t, dir, l)
	for _, n := range sizes {
		l.Grow(t, n-len(l.Leaves))
		if err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.Tidy()
	return l, dir
}

// Verify verifies the log in a folder.
func Verify(t testing.TB, dir string, opts audit.VerifyOptions) *audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), audit.Dir(dir), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// SignClaim signs the claim that the log has another size, which a Signer refuses to do.
func (l *Log) SignClaim(t testing.TB, size int64) []byte {
	t.Helper()
	signer, err := note.NewSigner(l.SecretKey)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", Origin, size, l.Head.Root())
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Bundle returns a bundle of one entry.
func Bundle(leaf []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(leaf))), leaf...)
}

// Edit changes a file of a log.
func Edit(t testing.TB, dir, name string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Remove the file first: it may be a hard link to a file of another log.
	if err := errors.Join(os.Remove(path), os.WriteFile(path, change(data), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// Copy makes a cheap copy of a log from hard links, which Edit replaces.
func Copy(t testing.TB, original string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	err := filepath.WalkDir(original, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(original, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Mkdir(filepath.Join(dir, rel), 0o700)
		}
		return os.Link(path, filepath.Join(dir, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Remove deletes a file or a folder of a log.
func Remove(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

// Flip returns a change that flips one bit of the byte at a position. A negative position
// counts from the end.
func Flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		i := at
		if i < 0 {
			i += len(b)
		}
		b[i] ^= 1
		return b
	}
}
