//go:build unix

package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

func TestLogOfAnySizeVerifies(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	for _, sizes := range [][]int{
		{1},
		{2, 3},
		{255},
		{256},
		{257},
		{100, 256, 300, 511, 512},
		{1000},
		{65536},
		{65537},
		{66000, 66100},
	} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			t.Parallel()
			m, dir := audittest.Publish(t, sizes...)
			r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: m.Signer.Verifier()})
			if !r.OK() || r.Size != m.Head.Size || r.Root != m.Head.Root() ||
				r.LastGood != m.Head.Size-1 || len(r.Warnings) > 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestEveryTamperingIsFound tampers with a log of 70,000 entries in many ways. Each is found,
// with its code and the lowest index.
func TestEveryTamperingIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	t.Parallel()
	m, original := publishLarge(t)
	other := audittest.New(t)
	other.Grow(t, 70_000)
	last := int64(69_888) // first entry of the last, partial tile of 112
	entry := func(dir string, n int, change func([]byte) []byte) {
		audittest.Edit(t, dir, merkle.Tile{
			Level: merkle.EntriesLevel, N: int64(n),
			Width: merkle.TileWidth,
		}.Path(), change)
	}
	none := int64(-1) // no index
	for _, tt := range []struct {
		name   string
		tamper func(dir string)
		opts   audit.VerifyOptions
		code   int
		index  int64
		file   string
	}{
		{
			name: "cent in an entry", code: 12, index: 700, file: "tile/entries/002",
			tamper: func(dir string) {
				entry(dir, 2, func(b []byte) []byte {
					return bytes.Replace(b, []byte(`"392.00","id":700,`),
						[]byte(`"392.01","id":700,`), 1)
				})
			},
		},
		{
			name: "entry in the last bundle", code: 12, index: last + 2,
			file: "tile/entries/273.p/112", tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/entries/273.p/112", func(b []byte) []byte {
					return bytes.Replace(b, []byte(`"id":69890,`), []byte(`"id":69891,`), 1)
				})
			},
		},
		{
			name: "two entries swapped", code: 12, index: 256, file: "tile/entries/001",
			tamper: func(dir string) {
				entry(dir, 1, func(b []byte) []byte {
					n := 2 + int(b[0])<<8 + int(b[1])
					return append(append(bytes.Clone(b[n:2*n]), b[:n]...), b[2*n:]...)
				})
			},
		},
		{
			name: "length of an entry", code: 12, index: 512, file: "tile/entries/002",
			tamper: func(dir string) {
				entry(dir, 2, audittest.Flip(1))
			},
		},
		{
			name: "bundle cut short", code: 12, index: 767, file: "tile/entries/002",
			tamper: func(dir string) {
				entry(dir, 2, func(b []byte) []byte { return b[:len(b)-3] })
			},
		},
		{
			name: "bundle empty", code: 12, index: 512, file: "tile/entries/002",
			tamper: func(dir string) {
				entry(dir, 2, func([]byte) []byte { return nil })
			},
		},
		{
			name: "bundle missing", code: 12, index: 768, file: "tile/entries/003",
			tamper: func(dir string) {
				audittest.Remove(t, dir, "tile/entries/003")
			},
		},
		{
			name: "bundles swapped", code: 12, index: 256, file: "tile/entries/001",
			tamper: func(dir string) {
				one, two := filepath.Join(dir, "tile/entries/001"),
					filepath.Join(dir, "tile/entries/002")
				if err := errors.Join(os.Rename(one, one+"x"), os.Rename(two, one),
					os.Rename(one+"x", two)); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "hash in a tile", code: 12, index: 1024, file: "tile/0/004",
			tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/0/004", audittest.Flip(5000))
			},
		},
		{
			name: "tile cut short", code: 12, index: 1024, file: "tile/0/004",
			tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/0/004", func(b []byte) []byte { return b[:32] })
			},
		},
		{
			name: "tile too long", code: 12, index: 1024, file: "tile/0/004",
			tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/0/004", func(b []byte) []byte {
					return append(b, b...)
				})
			},
		},
		{name: "tile missing", code: 12, index: 1024, file: "tile/0/004", tamper: func(dir string) {
			audittest.Remove(t, dir, "tile/0/004")
		}},
		{
			name: "entry and its tile", code: 12, index: 1024, file: "tile/0/004",
			tamper: func(dir string) {
				entry(dir, 4, func(b []byte) []byte {
					return bytes.Replace(b, []byte("392.00"), []byte("392.01"), 1)
				})
				audittest.Edit(t, dir, "tile/0/004", func(b []byte) []byte {
					h := merkle.LeafHash(bytes.Replace(m.Leaves[1024], []byte("392.00"),
						[]byte("392.01"), 1))
					return append(h[:], b[32:]...)
				})
			},
		},
		{
			name: "hash in a higher tile", code: 12, index: 0, file: "tile/1/000",
			tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/1/000", audittest.Flip(-1))
			},
		},
		{
			name: "higher tile missing", code: 12, index: 0, file: "tile/1/000",
			tamper: func(dir string) {
				audittest.Remove(t, dir, "tile/1/000")
			},
		},
		{
			name: "last tile", code: 12, index: last, file: "tile/0/273.p/112",
			tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/0/273.p/112", audittest.Flip(0))
			},
		},
		{
			name: "last tile missing", code: 12, index: last, file: "tile/0/273.p/112",
			tamper: func(dir string) {
				audittest.Remove(t, dir, "tile/0/273.p")
			},
		},
		{
			name: "last tile of level 1", code: 12, index: 65536, file: "tile/1/001.p/17",
			tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/1/001.p/17", audittest.Flip(9))
			},
		},
		{
			name: "last tile of level 2", code: 12, index: 0, file: "tile/2/000.p/1",
			tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/2/000.p/1", audittest.Flip(9))
			},
		},
		{
			name: "last tile and an early entry", code: 12, index: 0, file: checkpoint.File,
			tamper: func(dir string) {
				// With one forged hash in the edge and one in an entry, nothing leads to the root.
				// The entry contradicts its own tile, so the entry is named.
				audittest.Edit(t, dir, "tile/0/273.p/112", audittest.Flip(0))
				entry(dir, 0, func(b []byte) []byte {
					return bytes.Replace(b, []byte(`"id":3,`), []byte(`"id":4,`), 1)
				})
			},
		},
		{
			name: "last bundle and its tile", code: 12, index: none, file: checkpoint.File,
			tamper: func(dir string) {
				changed := bytes.Replace(m.Leaves[last], []byte("392.00"), []byte("392.01"), 1)
				audittest.Edit(t, dir, "tile/entries/273.p/112", func(b []byte) []byte {
					return bytes.Replace(b, m.Leaves[last], changed, 1)
				})
				audittest.Edit(t, dir, "tile/0/273.p/112", func(b []byte) []byte {
					h := merkle.LeafHash(changed)
					return append(h[:], b[32:]...)
				})
			},
		},
		{
			name: "link in place of a tile", code: 12, index: 1024, file: "tile/0/004",
			tamper: func(dir string) {
				path := filepath.Join(dir, "tile/0/004")
				if err := errors.Join(os.Rename(path, path+".real"),
					os.Symlink(path+".real", path)); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "pipe in place of a bundle", code: 12, index: 1024, file: "tile/entries/004",
			tamper: func(dir string) {
				path := filepath.Join(dir, "tile/entries/004")
				if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "folder in place of a bundle", code: 12, index: 1024, file: "tile/entries/004",
			tamper: func(dir string) {
				path := filepath.Join(dir, "tile/entries/004")
				if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "enormous bundle", code: 12, index: 1024, file: "tile/entries/004",
			tamper: func(dir string) {
				audittest.Edit(t, dir, "tile/entries/004", func([]byte) []byte { return nil })
				if err := os.Truncate(filepath.Join(dir, "tile/entries/004"), 1<<40); err != nil {
					t.Fatal(err)
				}
			},
		},

		{name: "checkpoint missing", code: 10, index: none, tamper: func(dir string) {
			audittest.Remove(t, dir, checkpoint.File)
		}},
		{name: "checkpoint empty", code: 10, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return nil })
		}},
		{name: "checkpoint unsigned", code: 10, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.File, func(b []byte) []byte {
				return b[:bytes.Index(b, []byte("\n\n"))+1]
			})
		}},
		{name: "checkpoint is a pipe", code: 10, index: none, tamper: func(dir string) {
			audittest.Remove(t, dir, checkpoint.File)
			if err := syscall.Mkfifo(filepath.Join(dir, checkpoint.File), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "key missing", code: 10, index: none, tamper: func(dir string) {
			audittest.Remove(t, dir, checkpoint.KeyFile)
		}},
		{name: "key is none", code: 10, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.KeyFile, func([]byte) []byte {
				return []byte("hello\n")
			})
		}},
		{name: "size in the checkpoint", code: 11, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.File, func(b []byte) []byte {
				return bytes.Replace(b, []byte("70000"), []byte("69999"), 1)
			})
		}},
		{name: "root in the checkpoint", code: 11, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.File, func(b []byte) []byte {
				at := bytes.Index(b, []byte("70000\n")) + len("70000\n")
				b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
				return b
			})
		}},
		{name: "signature", code: 11, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.File, func(b []byte) []byte {
				at := len(b) - 10
				b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
				return b
			})
		}},
		{name: "signed by another key", code: 11, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return other.Checkpoint })
		}},
		{name: "another key beside it", code: 11, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.KeyFile, func([]byte) []byte {
				return []byte(other.Signer.Verifier() + "\n")
			})
		}},
		{
			name: "another key named", code: 11, index: none,
			opts: audit.VerifyOptions{VKey: other.Signer.Verifier()}, tamper: func(string) {},
		},
		{
			name: "log and key replaced, key named", code: 11, index: none,
			opts: audit.VerifyOptions{VKey: m.Signer.Verifier()}, tamper: func(dir string) {
				audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte {
					return other.Checkpoint
				})
				audittest.Edit(t, dir, checkpoint.KeyFile, func([]byte) []byte {
					return []byte(other.Signer.Verifier() + "\n")
				})
			},
		},

		{name: "old checkpoint put back", code: 0, index: none, tamper: func(dir string) {
			audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte {
				return m.At(t, 256).Checkpoint
			})
		}},
		{
			name: "old checkpoint put back, newer one saved", code: 13, index: none,
			opts: audit.VerifyOptions{Saved: m.Checkpoint}, tamper: func(dir string) {
				audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte {
					return m.At(t, 256).Checkpoint
				})
			},
		},
		{
			name: "saved one extended", code: 0, index: none,
			opts: audit.VerifyOptions{Saved: m.At(t, 12_345).Checkpoint}, tamper: func(string) {},
		},
		{
			name: "saved one of another key", code: 11, index: none,
			opts: audit.VerifyOptions{Saved: other.Checkpoint}, tamper: func(string) {},
		},
		{
			name: "saved one is nothing", code: 10, index: none,
			opts: audit.VerifyOptions{Saved: []byte("x")}, tamper: func(string) {},
		},
		{name: "too old", code: 14, index: none, opts: audit.VerifyOptions{
			MaxAge: time.Hour,
			Now:    audittest.Time,
		}, tamper: func(string) {}},
		{name: "stranger", code: 0, index: none, tamper: func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("x"),
				0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := audittest.Copy(t, original)
			tt.tamper(dir)
			r := audittest.Verify(t, dir, tt.opts)
			if r.Code != tt.code {
				t.Fatalf("code %d (%s), want %d", r.Code, r.Sentence, tt.code)
			}
			got, file := none, ""
			if r.FirstBad != nil {
				file = r.FirstBad.File
				if r.FirstBad.Index != nil {
					got = *r.FirstBad.Index
				}
			}
			if tt.name == "last tile and an early entry" {
				tt.index, tt.file = 3, "tile/entries/000"
			}
			if got != tt.index || file != tt.file {
				t.Errorf("index %d in %q, want %d in %q (%s)", got, file, tt.index, tt.file,
					r.Sentence)
			}
			if tt.code == 12 && r.LastGood != max(tt.index, 0)-1 {
				t.Errorf("last good is %d", r.LastGood)
			}
		})
	}
}

// TestForkOfASavedCheckpointIsFound rewrites history with the log's own key. That is
// undetectable in itself, and found with a checkpoint that was saved before.
func TestForkOfASavedCheckpointIsFound(t *testing.T) {
	t.Parallel()
	m, _ := audittest.Publish(t, 1000)
	forged := &audittest.Log{Signer: m.Signer}
	for i, leaf := range m.Leaves {
		if i == 500 {
			leaf = bytes.Replace(leaf, []byte("392.00"), []byte("392.01"), 1)
		}
		forged.Leaves = append(forged.Leaves, leaf)
	}
	var hashes []merkle.Hash
	for _, leaf := range forged.Leaves {
		hashes = append(hashes, merkle.LeafHash(leaf))
	}
	forged.Sign(t, merkle.Head{}.Append(hashes...))
	dir := t.TempDir()
	p, _ := audittest.NewPublisher(t, dir, forged)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := audittest.Verify(t, dir, audit.VerifyOptions{}); !r.OK() {
		t.Fatalf("a log rewritten whole: %s", r.Sentence)
	}
	if r := audittest.Verify(t, dir,
		audit.VerifyOptions{Saved: m.At(t, 501).Checkpoint}); r.Code != audit.RolledBack {
		t.Errorf("against a checkpoint saved after the entry: %d %s", r.Code, r.Sentence)
	}
	if r := audittest.Verify(t, dir, audit.VerifyOptions{Saved: m.At(t, 500).Checkpoint}); !r.OK() {
		t.Errorf("against a checkpoint saved before the entry: %d %s", r.Code, r.Sentence)
	}
}

func TestReportHasItsDocumentedJSON(t *testing.T) {
	t.Parallel()
	_, dir := audittest.Publish(t, 300)
	audittest.Edit(t, dir, "tile/entries/001.p/44", func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"id":256,`), []byte(`"id":257,`), 1)
	})
	r := audittest.Verify(t, dir, audit.VerifyOptions{})
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(
		`{"ok":false,"code":12,"size":300,"root":%q,"first_bad":{"index":256,"file":"tile/entries/001.p/44","expected":%q,"got":%q},"last_good":255,`+
			`"reason":"tile/entries/001.p/44 differs from the signed tree at entry 256"}`,
		r.Root.String(), r.FirstBad.Expected, r.FirstBad.Got)
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	text, err = json.Marshal(audit.Unverifiable(errors.New("no key")))
	if want := `{"ok":false,"code":10,"size":0,"root":"","first_bad":null,"last_good":-1,"reason":"no key"}`; err != nil || string(text) != want {
		t.Errorf("got  %s, %v\nwant %s", text, err, want)
	}
}

// serveLog returns a client of a server that serves the files of a folder.
func serveLog(t *testing.T, dir string) *http.Client {
	t.Helper()
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _,
		_ string,
	) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}}}
}

func TestStrangeFilesAreWarnedOf(t *testing.T) {
	t.Parallel()
	_, dir := audittest.Publish(t, 300)
	for _, name := range []string{
		"tile/0/009", "tile/entries/001.p/200", "tile/0/001.p/3",
		"readme",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
			os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r := audittest.Verify(t, dir, audit.VerifyOptions{})
	if !r.OK() {
		t.Fatal(r.Sentence)
	}
	all := strings.Join(r.Warnings, "\n")
	for _, want := range []string{
		"tile/0/009 is beyond", "tile/entries/001.p/200 is beyond",
		"1 partial tiles", "readme is no file", "key beside the log",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no warning %q in:\n%s", want, all)
		}
	}
}

// BenchmarkVerify verifies 100,000 entries of a realistic size, and compares with sha256sum of
// the same files.
func BenchmarkVerify(b *testing.B) {
	m, dir := audittest.NewBusy(b, 100_000), b.TempDir()
	p, _ := audittest.NewPublisher(b, dir, m)
	if err := p.Recover(b.Context()); err != nil {
		b.Fatal(err)
	}
	p.Tidy()
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			if r := audittest.Verify(b, dir, audit.VerifyOptions{}); !r.OK() {
				b.Fatal(r.Sentence)
			}
		}
	})
	b.Run("sha256sum", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command("sh", "-c", `find "$0" -type f -print0 | xargs -0 sha256sum`, dir)
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
