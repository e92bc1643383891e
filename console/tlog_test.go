package console_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/internal/needs"
)

// A verdict is what the scripts of the page say of a log.
type verdict struct {
	Code    int    `json:"code"`
	Index   *int64 `json:"index"`
	File    string `json:"file"`
	Message string `json:"message"`
	Size    int64  `json:"size"`
	Root    string `json:"root"`
}

// scripts are the scripts of the page in a Node.js that runs as long as the test.
type scripts struct {
	in  *json.Encoder
	out *json.Decoder
}

func newScripts(t *testing.T) *scripts {
	t.Helper()
	cmd := exec.Command(needs.Program(t, "node"), "testdata/verify.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &scripts{json.NewEncoder(in), json.NewDecoder(out)}
}

// verify verifies the log in dir, which goes on from older unless that is nil.
func (s *scripts) verify(t *testing.T, dir, vkey string, older *verdict) (v verdict) {
	t.Helper()
	if err := s.in.Encode(map[string]any{"dir": dir, "vkey": vkey, "older": older}); err != nil {
		t.Fatal(err)
	}
	if err := s.out.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestPageFindsWhatAtmctlFinds tampers with a log in many ways. The scripts of the page and
// "atmctl audit verify" come to the same verdict of each.
func TestPageFindsWhatAtmctlFinds(t *testing.T) {
	const size = 1000
	page := newScripts(t)
	m, original := audittest.Publish(t, size)
	vkey := m.Signer.Verifier()
	type tampering struct {
		name   string
		tamper func(t *testing.T, dir string)
	}
	change := func(path string, edit func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) { audittest.Edit(t, dir, path, edit) }
	}
	remove := func(path string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { audittest.Remove(t, dir, path) }
	}
	cut := func(by int) func([]byte) []byte {
		return func(b []byte) []byte { return b[:len(b)-by] }
	}
	more := func(b []byte) []byte { return append(b, 'x') }
	swap := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
	}
	tamperings := []tampering{
		{"nothing", func(*testing.T, string) {}},
		{"no checkpoint", remove("checkpoint")},
		{"an empty checkpoint", change("checkpoint", func([]byte) []byte { return nil })},
		{"a checkpoint of a smaller log", change("checkpoint", swap("\n1000\n", "\n999\n"))},
		{"a checkpoint of a larger log", change("checkpoint", swap("\n1000\n", "\n1001\n"))},
		{"a size that is no number", change("checkpoint", swap("\n1000\n", "\n1e3\n"))},
		{"a size with a zero before it", change("checkpoint", swap("\n1000\n", "\n01000\n"))},
		{"another origin", change("checkpoint", swap("log.example\n", "log.invalid\n"))},
		{"a changed signature", change("checkpoint", audittest.Flip(-5))},
		{"a signature that is no base64", change("checkpoint", func(b []byte) []byte {
			b[len(b)-5] = '*'
			return b
		})},
		{"no signature", change("checkpoint", func(b []byte) []byte {
			return b[:bytes.Index(b, []byte("\n\n"))+2]
		})},
		{"the tile of tiles changed", change("tile/1/000.p/3", audittest.Flip(40))},
		{"the tile of tiles missing", remove("tile/1/000.p/3")},
		{"bundles exchanged", func(t *testing.T, dir string) {
			entries := filepath.Join(dir, "tile", "entries")
			for _, move := range [][2]string{{"000", "-"}, {"001", "000"}, {"-", "001"}} {
				from, to := filepath.Join(entries, move[0]), filepath.Join(entries, move[1])
				if err := os.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
		}},
	}
	for _, n := range []string{"000", "001", "002", "003.p/232"} {
		bundle, tile := "tile/entries/"+n, "tile/0/"+n
		tamperings = append(tamperings,
			tampering{bundle + " changed at its start", change(bundle, audittest.Flip(2))},
			tampering{bundle + " changed in the middle", change(bundle, audittest.Flip(4000))},
			tampering{bundle + " changed at its end", change(bundle, audittest.Flip(-2))},
			tampering{bundle + " with a longer first entry", change(bundle, audittest.Flip(1))},
			tampering{bundle + " cut", change(bundle, cut(1))},
			tampering{bundle + " with a byte more", change(bundle, more)},
			tampering{bundle + " missing", remove(bundle)},
			tampering{tile + " changed", change(tile, audittest.Flip(33))},
			tampering{tile + " cut", change(tile, cut(32))},
			tampering{tile + " missing", remove(tile)})
	}
	for _, tt := range tamperings {
		t.Run(tt.name, func(t *testing.T) {
			dir := audittest.Copy(t, original)
			tt.tamper(t, dir)
			report := audittest.Verify(t, dir, audit.VerifyOptions{VKey: vkey})
			found := page.verify(t, dir, vkey, nil)
			if found.Code != report.Code {
				t.Fatalf("the page says %d, %s; atmctl says %d, %s", found.Code, found.Message,
					report.Code, report.Sentence)
			}
			if report.FirstBad != nil && report.FirstBad.Index != nil && found.Index != nil &&
				*found.Index != *report.FirstBad.Index {
				t.Errorf("the page names entry %d (%s), atmctl %d (%s)", *found.Index,
					found.Message,
					*report.FirstBad.Index, report.Sentence)
			}
		})
	}
}

// TestPageNoticesAForkSinceItLastLooked shows a browser that saw a log another history of it,
// or a shorter one, signed by the same key.
func TestPageNoticesAForkSinceItLastLooked(t *testing.T) {
	published := func(m *audittest.Log) string {
		dir := t.TempDir()
		audittest.PublishIn(t, dir, m)
		return dir
	}
	page, whole := newScripts(t), audittest.NewOf(t, 600)
	vkey, now := whole.Signer.Verifier(), published(whole)
	fork := published(whole.Forked(t, 600)) // from entry 5 on
	for _, size := range []int{1, 2, 5, 6, 255, 256, 257, 512, 599, 600} {
		before := page.verify(t, published(whole.At(t, size)), vkey, nil)
		if before.Code != audit.Verified || before.Size != int64(size) {
			t.Fatalf("%d entries: %d %s", size, before.Code, before.Message)
		}
		if v := page.verify(t, now, vkey, &before); v.Code != audit.Verified {
			t.Errorf("the log grew from %d to 600: %d %s", size, v.Code, v.Message)
		}
		want := audit.Verified
		if size > 5 {
			want = audit.RolledBack
		}
		if v := page.verify(t, fork, vkey, &before); v.Code != want {
			t.Errorf("a fork at entry 5, after %d: %d %s", size, v.Code, v.Message)
		}
		if size > 1 {
			v := page.verify(t, published(whole.At(t, size-1)), vkey, &before)
			if v.Code != audit.RolledBack {
				t.Errorf("%d entries after %d: %d %s", size-1, size, v.Code, v.Message)
			}
		}
	}
}

// TestAssetsAreSmallAndOurOwn adds up everything that any page could load, and the longest page
// with it. What pages have in a browser, TestEachPageIsAccessibleAndFits measures.
func TestAssetsAreSmallAndOurOwn(t *testing.T) {
	assets, longest := 0, 0
	for _, pattern := range []string{"assets/*", "pages/*", "offline/*"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if pattern == "assets/*" {
				assets += len(text)
			} else {
				longest = max(longest, len(text))
			}
			for _, elsewhere := range []string{"http://", "https://", "style=", "onclick"} {
				if strings.Contains(string(text), elsewhere) &&
					!slices.Contains([]string{"assets/icon.svg"}, name) {
					t.Errorf("%s has %s", name, elsewhere)
				}
			}
		}
	}
	if assets == 0 || longest == 0 || assets+longest > 60<<10 {
		t.Errorf("all assets and the longest page have %d bytes", assets+longest)
	}
}

// TestPageAsksForTheSignatureThatTheKeysPromise verifies a log that is signed by both algorithms,
// with one key and with both.
func TestPageAsksForTheSignatureThatTheKeysPromise(t *testing.T) {
	page, dir := newScripts(t), t.TempDir()
	m, other := audittest.NewPair(t), audittest.NewPair(t)
	m.Grow(t, 10)
	audittest.PublishIn(t, dir, m)
	keys := m.Signer.AllKeys()
	both := keys[0] + "\n" + keys[1]
	verify := func(name, vkeys string, want int) {
		t.Helper()
		if v := page.verify(t, dir, vkeys, nil); v.Code != want {
			t.Errorf("%s: %d %s, want %d", name, v.Code, v.Message, want)
		}
	}
	verify("both keys", both+"\n", audit.Verified)
	verify("the first key", keys[0], audit.Verified)
	verify("the second key alone", keys[1], audit.CannotVerify)
	verify("another second key", keys[0]+"\n"+other.Signer.AllKeys()[1], audit.WrongSignature)
	verify("another first key", other.Signer.Verifier()+"\n"+keys[1], audit.WrongSignature)
	verify("another and both keys", other.Signer.Verifier()+"\n"+both, audit.Verified)
	verify("a key that is none", both+"\nx", audit.CannotVerify)
	audittest.Edit(t, dir, "checkpoint", func([]byte) []byte { return m.Checkpoint })
	verify("no second signature", both, audit.WrongSignature)
	verify("no second signature, and the first key", keys[0], audit.Verified)
}
