//go:build unix

package cmd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/atm/feed/webhook"
	"example.com/atm/internal/needs"
)

// A receiver is a program that events are sent to. It writes a line for each: the id, the answer,
// which lines of the file secrets it is signed for, the path, and the body. It answers as the
// file answer says; 204 when there is none.
type receiver struct {
	folder string
	mu     sync.Mutex // held while writing
}

// maxEvent bounds an event that is read.
const maxEvent = 1 << 20

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(io.LimitReader(req.Body, maxEvent))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status := http.StatusNoContent
	if text, err := os.ReadFile(filepath.Join(r.folder, "answer")); err == nil {
		if status, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			status = http.StatusInternalServerError
		}
	}
	line := fmt.Sprintf("%s %s by=%s at=%s %s\n", req.Header.Get(webhook.HeaderID),
		http.StatusText(status), r.signedFor(req.Header, body), req.URL.Path, body)
	events, err := os.OpenFile(filepath.Join(r.folder, "events"),
		os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = events.WriteString(line)
		events.Close()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(status)
}

// signedFor returns the numbers of the lines of secrets that an event is signed for.
func (r *receiver) signedFor(h http.Header, body []byte) string {
	text, err := os.ReadFile(filepath.Join(r.folder, "secrets"))
	if err != nil {
		return "none"
	}
	var good []string
	for i, line := range strings.Fields(string(text)) {
		verifier, err := webhook.ParseVerifier(line)
		if err != nil {
			return err.Error()
		}
		if _, err := webhook.Verify(h, body, time.Now(), verifier); err == nil {
			good = append(good, strconv.Itoa(i+1))
		}
	}
	return strings.Join(good, ",")
}

// receive starts the receiver of a script, with the certificate of its server, at $RECEIVER.
func receive(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("receive cannot be negated")
	}
	port, err := needs.Port()
	ts.Check(err)
	listener, err := net.Listen("tcp", "localhost:"+port)
	ts.Check(err)
	server := &http.Server{
		Handler: &receiver{folder: ts.MkAbs(".")}, ReadHeaderTimeout: patience,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		server.ServeTLS(listener, ts.MkAbs("atm-data/tls/server.crt"),
			ts.MkAbs("atm-data/tls/server.key"))
	})
	ts.Defer(func() {
		server.Close()
		wg.Wait()
	})
	ts.Setenv("RECEIVER", "https://localhost:"+port)
}

// arrives waits until a line of the events of a script matches a pattern, or, with a number
// before it, so many do; "! arrives" says that none does at the moment.
func arrives(ts *testscript.TestScript, neg bool, args []string) {
	want := 1
	if len(args) == 2 {
		var err error
		want, err = strconv.Atoi(args[0])
		ts.Check(err)
		args = args[1:]
	}
	if len(args) != 1 {
		ts.Fatalf("usage: arrives [N] PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var events []byte
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if events, err = os.ReadFile(ts.MkAbs("events")); err != nil && !os.IsNotExist(err) {
			ts.Fatalf("%v", err)
		}
		switch n := len(pattern.FindAll(events, -1)); {
		case neg && n == 0:
			return
		case neg:
			ts.Fatalf("%d lines match %s:\n%s", n, args[0], events)
		case n == want:
			return
		case n > want:
			ts.Fatalf("%d lines match %s, not %d:\n%s", n, args[0], want, events)
		}
	}
	ts.Fatalf("no %d lines match %s:\n%s", want, args[0], events)
}

// unbroken NAME checks the events that arrived at the path /NAME.
func unbroken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: unbroken NAME")
	}
	ts.Check(findGap(ts.ReadFile("events"), "/"+args[0]))
}

// findGap reports the first event at a path that does not follow those before it: each that the
// receiver took is one that it has, or says which one came before it, and that is the newest that
// it has; or it begins anew.
func findGap(events, path string) error {
	last, seen := int64(-1), make(map[int64]bool)
	for line := range strings.Lines(events) {
		head, body, _ := strings.Cut(line, " {")
		if !strings.HasSuffix(head, " at="+path) || !strings.Contains(head, " No Content ") {
			continue
		}
		var event struct {
			Type string `json:"type"`
			Data struct {
				Index    int64  `json:"index"`
				Previous *int64 `json:"previous"`
			} `json:"data"`
		}
		if err := json.Unmarshal([]byte("{"+body), &event); err != nil {
			return err
		}
		isEntry := event.Type != "atm.checkpoint"
		switch e := event.Data; {
		case event.Type == "atm.test":
			continue
		case e.Previous == nil:
			clear(seen)
		case *e.Previous != last && !(isEntry && seen[e.Index]):
			return fmt.Errorf("after %d comes one that follows %d: %s", last, *e.Previous, line)
		}
		if isEntry {
			last = event.Data.Index
			seen[last] = true
		}
	}
	if len(seen) == 0 {
		return fmt.Errorf("no events arrived at %s", path)
	}
	return nil
}

func TestGapBetweenEventsIsFound(t *testing.T) {
	line := func(path, kind, data string) string {
		return fmt.Sprintf("f1-x No Content by=1 at=%s {\"type\":%q,\"data\":{%s}}\n", path, kind,
			data)
	}
	first := line("/a", "atm.deposit", `"index":4,"previous":null,"from":2`)
	second := line("/a", "atm.deposit", `"index":7,"previous":4`)
	third := line("/a", "atm.deposit", `"index":9,"previous":7`)
	for name, tt := range map[string]struct {
		events string
		whole  bool
	}{
		"in order":             {first + second + third, true},
		"the second is gone":   {first + third, false},
		"another order":        {first + third + second, false},
		"repeated":             {first + second + second + third, true},
		"anew":                 {first + second + first + second + third, true},
		"nothing":              {"", false},
		"of others":            {strings.ReplaceAll(first, "/a", "/b"), false},
		"one was refused":      {first + strings.Replace(second, "No Content", "Gone", 1) + third, false},
		"checkpoint":           {first + line("/a", "atm.checkpoint", `"previous":4`) + second, true},
		"checkpoint says more": {first + line("/a", "atm.checkpoint", `"previous":7`), false},
	} {
		if err := findGap(tt.events, "/a"); (err == nil) != tt.whole {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEventsOfOthersAreNotSignedForAReceiver makes sure that the receiver of scripts can say no.
func TestEventsOfOthersAreNotSignedForAReceiver(t *testing.T) {
	mine := webhook.NewKey([32]byte{1}, [32]byte{2})
	other := webhook.NewKey([32]byte{3}, [32]byte{4})
	r := &receiver{folder: t.TempDir()}
	secrets := []byte(mine.Secret() + "\n" + other.Secret() + "\n" + mine.Public() + "\n")
	if err := os.WriteFile(filepath.Join(r.folder, "secrets"), secrets, 0o600); err != nil {
		t.Fatal(err)
	}
	h, body := http.Header{}, []byte("{}")
	if err := webhook.Sign(h, "f1.2", time.Now(), body, mine); err != nil {
		t.Fatal(err)
	}
	if got := r.signedFor(h, body); got != "1,3" {
		t.Errorf("it is signed for %q, not for 1,3", got)
	}
	if got := r.signedFor(h, []byte("[]")); got != "" {
		t.Errorf("another body is signed for %q", got)
	}
}
