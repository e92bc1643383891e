//go:build unix

package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/publish"
	"example.com/atm/audit/remote"
)

// growing is a log that grows while it is read: with each new checkpoint, the partial tiles of
// the one before are deleted.
type growing struct {
	audit.Dir
	t    *testing.T
	m    *audittest.Log
	p    *publish.Publisher
	left int
}

func (g *growing) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if strings.Contains(name, ".p/") && g.left > 0 {
		g.left--
		g.m.Grow(g.t, 300)
		if err := g.p.Publish(ctx); err != nil {
			g.t.Fatal(err)
		}
		g.p.Tidy()
	}
	return g.Dir.ReadFile(ctx, name, limit)
}

func TestLogThatGrowsWhileItIsReadVerifies(t *testing.T) {
	t.Parallel()
	m, dir := audittest.Publish(t, 1000)
	p, _ := audittest.NewPublisher(t, dir, m)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := &growing{Dir: audit.Dir(dir), t: t, m: m, p: p, left: 3}
	r, err := audit.Verify(t.Context(), files, audit.VerifyOptions{})
	if err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
	if files.left != 0 {
		t.Error("the log did not grow while it was read")
	}
}

// overtaken is a log on a server whose publisher adds an entry, and deletes the superseded
// tiles, before each request for a file. Each partial tile is gone when it is read, and its
// wider successor is not complete yet.
type overtaken struct {
	t    *testing.T
	dir  audit.Dir
	m    *audittest.Log
	p    *publish.Publisher
	most int // entries
}

func (o *overtaken) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name != checkpoint.File && len(o.m.Leaves) < o.most {
		o.m.Grow(o.t, 1)
		if err := o.p.Publish(ctx); err != nil {
			o.t.Fatal(err)
		}
		o.p.Tidy()
	}
	return o.dir.ReadFile(ctx, name, limit)
}

func newOvertaken(t *testing.T, size int) *overtaken {
	t.Helper()
	var m *audittest.Log
	var dir string
	if size == largeSize {
		m, dir = copyLarge(t)
	} else {
		m, dir = audittest.Publish(t, size)
	}
	p, _ := audittest.NewPublisher(t, dir, m)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &overtaken{t: t, dir: audit.Dir(dir), m: m, p: p, most: size + 50}
}

// TestGrowingLogIsReadAtOneSize reads logs whose partial tiles are superseded and deleted at
// the same time.
func TestGrowingLogIsReadAtOneSize(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	for _, size := range []int{5, 300, largeSize} {
		t.Run(fmt.Sprintf("entries of %d", size), func(t *testing.T) {
			t.Parallel()
			readWhileItGrows(t, size)
		})
		t.Run(fmt.Sprintf("verify %d", size), func(t *testing.T) {
			t.Parallel()
			o := newOvertaken(t, size)
			r, err := audit.Verify(t.Context(), o, audit.VerifyOptions{VKey: o.m.Signer.Verifier()})
			if err != nil || !r.OK() || r.Size >= o.m.Head.Size {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// readWhileItGrows reads and proves entries of a log that grows before each file is read.
func readWhileItGrows(t *testing.T, size int) {
	t.Helper()
	o := newOvertaken(t, size)
	log, err := audit.OpenLog(t.Context(), o, o.m.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	// Entries of a signed size are still readable long after the log has outgrown it.
	o.m.Grow(t, o.most+5-len(o.m.Leaves))
	if err := o.p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.p.Tidy()
	n := int64(0)
	err = log.Entries(t.Context(), 0, log.Size, func(index int64, leaf []byte,
		_ merkle.Hash,
	) error {
		if index != n || !bytes.Equal(leaf, o.m.Leaves[index]) {
			t.Errorf("entry %d is %s", index, leaf)
		}
		n++
		return nil
	})
	if err != nil || n != log.Size {
		t.Errorf("%d of %d entries, %v", n, log.Size, err)
	}
	last := log.Size - 1
	proof, err := log.Prove(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	if r := proof.Check(o.m.Leaves[last], o.m.Signer.Verifier()); !r.OK() || r.Size != log.Size {
		t.Errorf("the proof: %+v", r)
	}
}

// TestForgedWiderTileIsFound makes sure that a wider tile in place of a partial one is compared
// with the signed root.
func TestForgedWiderTileIsFound(t *testing.T) {
	t.Parallel()
	m, dir := audittest.Publish(t, 300)
	log, err := audit.OpenLog(t.Context(), remote.Files{
		Client: serveLog(t, dir),
		Base:   "http://log/",
	},
		m.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	p, _ := audittest.NewPublisher(t, dir, m)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Grow(t, 10)
	if err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Tidy()
	audittest.Edit(t, dir, "tile/entries/001.p/54", func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"id":299,`), []byte(`"id":298,`), 1)
	})
	err = log.Entries(t.Context(), 0, log.Size, func(int64, []byte, merkle.Hash) error {
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "entry 299") {
		t.Errorf("a forged entry in a wider tile: %v", err)
	}
}
