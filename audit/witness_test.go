package audit_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/policy"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// testWitness is a witness of C2SP tlog-witness, with the signer of another project.
type testWitness struct {
	*httptest.Server
	vkey   string
	signer note.Signer
	log    string // public key of the log it knows

	mu   sync.Mutex
	size int64
	root merkle.Hash
}

func newWitness(t *testing.T, name, log string) *testWitness {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cosignature.NewSignerForCosignatureV1(skey)
	if err != nil {
		t.Fatal(err)
	}
	if vkey, err = cosignature.VKeyToCosignatureV1(vkey); err != nil {
		t.Fatal(err)
	}
	w := &testWitness{vkey: vkey, signer: signer, log: log}
	w.Server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.Close)
	return w
}

func (w *testWitness) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	head, signed, found := strings.Cut(string(body), "\n\n")
	lines := strings.Split(head, "\n")
	var old int64
	if _, scan := fmt.Sscanf(lines[0], "old %d", &old); err != nil || scan != nil || !found ||
		r.URL.Path != "/w/add-checkpoint" {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	c, err := checkpoint.Open([]byte(signed), w.log)
	if err != nil {
		rw.WriteHeader(http.StatusForbidden)
		return
	}
	if old != w.size {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", w.size)
		return
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		proof = append(proof, h)
	}
	switch {
	case old == c.Size && w.root != c.Root:
		rw.WriteHeader(http.StatusConflict)
		return
	case old > 0 && old < c.Size && tlog.CheckTree(proof, c.Size, c.Root, old, w.root) != nil:
		rw.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	text, _, _ := strings.Cut(signed, "\n\n")
	cosigned, err := w.signer.Sign([]byte(text + "\n"))
	if err != nil {
		rw.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.size, w.root = c.Size, c.Root
	line := append(binary.BigEndian.AppendUint32(nil, w.signer.KeyHash()), cosigned...)
	fmt.Fprintf(rw, "— %s %s\n", w.signer.Name(), base64.StdEncoding.EncodeToString(line))
}

// TestCosignaturesSatisfyAPolicyThatDemandsThem has witnesses cosign a log while it grows, and
// verifies the log under several policies.
func TestCosignaturesSatisfyAPolicyThatDemandsThem(t *testing.T) {
	m, dir := audittest.Publish(t, 300)
	vkey := m.Signer.Verifier()
	one, two, three := newWitness(t, "one.example/w", vkey), newWitness(t, "two.example/w", vkey),
		newWitness(t, "three.example/w", vkey)
	withRules := func(quorum string) *policy.Policy {
		t.Helper()
		p, err := policy.Parse(fmt.Appendf(nil, "# the logs\nlog %s\nwitness one %s "+
			"%s/w\nwitness "+
			"two %s %s/w/\nwitness three %s\n%s\n",
			vkey, one.vkey, one.URL, two.vkey, two.URL, three.vkey, quorum))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	both := withRules("group both all one two\nquorum both")
	all := withRules("group all 3 one two three\nquorum all")
	if r := audittest.Verify(t, dir, audit.VerifyOptions{Policy: both}); r.Code != audit.TooOld {
		t.Fatalf("before anybody cosigned: %+v", r)
	}
	none := withRules("quorum none")
	if r := audittest.Verify(t, dir, audit.VerifyOptions{Policy: none}); !r.OK() || r.Key != vkey {
		t.Fatalf("without a quorum: %+v", r)
	}
	cosign := func() {
		t.Helper()
		log, err := audit.OpenLog(t.Context(), audit.Dir(dir), vkey)
		if err != nil {
			t.Fatal(err)
		}
		lines, errs := log.CosignAll(t.Context(), http.DefaultClient, both)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		if err := log.SaveCosigned(lines); err != nil {
			t.Fatal(err)
		}
	}
	cosign()
	cosign() // again, at the same size
	if r := audittest.Verify(t, dir, audit.VerifyOptions{Policy: both}); !r.OK() {
		t.Fatalf("cosigned by both: %+v", r)
	}
	if r := audittest.Verify(t, dir, audit.VerifyOptions{Policy: all}); r.Code != audit.TooOld {
		t.Fatalf("one is missing: %+v", r)
	}
	// The log grows, and its publisher keeps the cosigned checkpoint.
	p, _ := audittest.NewPublisher(t, dir, m)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if before, err := os.ReadFile(filepath.Join(dir, checkpoint.File)); err != nil ||
		!strings.Contains(string(before), "— two.example/w ") {
		t.Fatalf("the publisher dropped cosignatures: %s, %v", before, err)
	}
	m.Grow(t, 77)
	if err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := audittest.Verify(t, dir, audit.VerifyOptions{Policy: both})
	if !r.OK() || !strings.Contains(strings.Join(r.Warnings, "\n"), "witnesses have seen the "+
		"first 300 of 377 entries") {
		t.Fatalf("grown since: %+v", r)
	}
	cosign()
	if r := audittest.Verify(t, dir, audit.VerifyOptions{Policy: both}); !r.OK() ||
		strings.Contains(strings.Join(r.Warnings, "\n"), "witnesses have seen") {
		t.Fatalf("cosigned again: %+v", r)
	}
	// A log that was rolled back, and one that forked.
	for name, other := range map[string]*audittest.Log{
		"rollback": m.At(t, 200),
		"fork":     m.Forked(t, 400),
	} {
		folder := t.TempDir()
		q, _ := audittest.NewPublisher(t, folder, other)
		if err := q.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		log, err := audit.OpenLog(t.Context(), audit.Dir(folder), vkey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Cosign(t.Context(), http.DefaultClient, both.Witnesses[0]); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("a witness was asked to cosign a %s: %v", name, err)
		}
	}
	_, other, err := checkpoint.GenerateKey("other.example")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := policy.Parse([]byte("log " + other + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r := audittest.Verify(t, dir, audit.VerifyOptions{
		Policy: foreign,
		VKey:   vkey,
	}); r.Code != audit.WrongSignature {
		t.Errorf("a policy that does not know the log: %+v", r)
	}
}

func TestPolicyIsSatisfiedByItsQuorumAlone(t *testing.T) {
	_, log, err := checkpoint.GenerateKey("log.example")
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]any, 4)
	for i := range keys {
		_, vkey, err := note.GenerateKey(rand.Reader, fmt.Sprintf("w%d.example", i))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = vkey
	}
	witnesses := fmt.Sprintf("log "+log+" https://log.example\nwitness A %s\n\twitness B %s "+
		"https://b.example/\nwitness C %s\nwitness D %s\n", keys...)
	for _, tt := range []struct {
		rules    string
		cosigned string
		want     bool
	}{
		{"quorum none", "", true},
		{"quorum A", "A", true},
		{"quorum A", "B", false},
		{"group g any A B\nquorum g", "B", true},
		{"group g 2 A B C\nquorum g", "A C", true},
		{"group g 2 A B C\nquorum g", "A", false},
		{
			"group x all A B\n# a comment\ngroup y any C D\n\ngroup z all x y\nquorum z",
			"A B D", true,
		},
		{"group x all A B\ngroup y any C D\ngroup z all x y\nquorum z", "A C D", false},
	} {
		p, err := policy.Parse([]byte(witnesses + tt.rules))
		if err != nil {
			t.Errorf("%s: %v", tt.rules, err)
			continue
		}
		if got := p.Satisfied(strings.Fields(tt.cosigned)); got != tt.want {
			t.Errorf("%q by %s: %v", tt.rules, tt.cosigned, got)
		}
	}
	for _, bad := range []string{
		"", "quorum X", "quorum none\nquorum none", "group g 0 A\nquorum g",
		"group g 3 A B\nquorum g", "group g 02 A B\nquorum g",
		"group g any A A\nquorum g", "group g any A\ngroup h any A\nquorum g",
		"group A any B\nquorum A", "group none any A\nquorum none",
		"group g any none\nquorum g", "witness E nokey\nquorum none", "log nokey\nquorum none",
		"quorum", "what is this\nquorum none", "quorum none\r",
		fmt.Sprintf("witness E %s\nquorum none", keys[0]), fmt.Sprintf("witness A %s\nquorum none",
			keys[1]), "log " + log + "\nquorum none",
	} {
		if _, err := policy.Parse([]byte(witnesses + bad)); err == nil {
			t.Errorf("%q was taken for a policy", bad)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte("# a policy\ngroup g 2 A B\nquorum none\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := policy.Parse(text); err == nil {
			p.Satisfied(nil)
		}
	})
}

// TestWitnessRedirectsAreNotFollowed has a witness redirect the submission to another address.
func TestWitnessRedirectsAreNotFollowed(t *testing.T) {
	m, dir := audittest.Publish(t, 300)
	log, err := audit.OpenLog(t.Context(), audit.Dir(dir), m.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	real := newWitness(t, "w1.example", m.Signer.Verifier())
	for _, code := range []int{301, 302, 303, 307, 308} {
		elsewhere := httptest.NewServer(http.RedirectHandler(real.URL+"/w/add-checkpoint", code))
		t.Cleanup(elsewhere.Close)
		alone, err := policy.Parse(fmt.Appendf(nil, "witness w1 %s %s/w\nquorum w1\n",
			real.vkey,
			elsewhere.URL))
		if err != nil {
			t.Fatal(err)
		}
		lines, errs := log.CosignAll(t.Context(), &http.Client{}, alone)
		if len(lines) > 0 || len(errs) != 1 || !strings.Contains(errs[0].Error(),
			"redirects are not followed") {
			t.Errorf("%d: %q, %v", code, lines, errs)
		}
	}
	if real.size != 0 {
		t.Error("the witness at the other address was asked")
	}
}
