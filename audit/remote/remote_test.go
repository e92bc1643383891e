package remote_test

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/remote"
)

// breaking serves the files of a folder, with answers for one file that break.
type breaking struct {
	http.Handler
	how   string // "cut", "stall" or a status
	name  string // of the file
	times int    // how often

	mu    sync.Mutex
	asked int // guarded by mu; how often for that file
}

// serveTLS is a server whose log, about clients that disconnect, is discarded.
func serveTLS(h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	return s
}

func (b *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	its := strings.HasSuffix(r.URL.Path, b.name)
	if its {
		b.asked++
	}
	breaks := its && b.asked <= b.times
	b.mu.Unlock()
	if !breaks {
		b.Handler.ServeHTTP(w, r)
		return
	}
	switch b.how {
	case "cut", "stall":
		recorded := httptest.NewRecorder()
		b.Handler.ServeHTTP(recorded, r)
		w.Header().Set("Content-Length", recorded.Header().Get("Content-Length"))
		w.Write(recorded.Body.Bytes()[:recorded.Body.Len()/2])
		w.(http.Flusher).Flush()
		if b.how == "stall" {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	case "503":
		http.Error(w, "Not now", http.StatusServiceUnavailable)
	case "403":
		http.Error(w, "Not you\nnor anybody"+strings.Repeat("!", 1<<20), http.StatusForbidden)
	}
}

// TestBrokenConnectionIsNoTampering verifies a log whose server sends half of a file, or
// nothing, once or always. Only the content of a file counts as a finding.
func TestBrokenConnectionIsNoTampering(t *testing.T) {
	t.Parallel()
	m, dir := audittest.Publish(t, 1000)
	var breaks sync.WaitGroup // each spends its time waiting for its client
	defer breaks.Wait()
	for _, how := range []string{"cut", "stall", "503"} {
		for _, name := range []string{
			"tile/entries/001", "tile/0/001", "tile/0/003.p/232", "tile/entries/003.p/232",
			"checkpoint",
		} {
			if how == "stall" && name != "tile/entries/001" && name != "checkpoint" {
				continue // each lasts as long as its client's timeout
			}
			for _, times := range []int{1, 1 << 30} {
				breaks.Go(func() { verifyBreaking(t, m, dir, how, name, times) })
			}
		}
	}
}

// verifyBreaking verifies a log whose server breaks its answers for one file so many times.
func verifyBreaking(t *testing.T, m *audittest.Log, dir, how, name string, times int) {
	t.Helper()
	b := &breaking{Handler: http.FileServer(http.Dir(dir)), how: how, name: name, times: times}
	s := serveTLS(b)
	defer s.Close()
	client := s.Client()
	client.Timeout = 10 * time.Second
	if how == "stall" {
		client.Timeout = time.Second
	}
	r, err := audit.Verify(t.Context(), remote.Files{Client: client, Base: s.URL + "/"},
		audit.VerifyOptions{VKey: m.Signer.Verifier()})
	var lost *url.Error
	switch {
	case times == 1 && how == "stall" && errors.As(err, &lost) && lost.Timeout():
		// A busy machine may take more than a second for a file.
	case times == 1 && (err != nil || !r.OK()):
		t.Errorf("%s of %s once: %+v, %v", how, name, r, err)
	case times > 1 && !errors.As(err, &lost):
		t.Errorf("%s of %s: %+v, %v", how, name, r, err)
	}
	s.Close() // asked does not change after this
	if times > 1 && how != "stall" && b.asked < 2 {
		t.Errorf("%s of %s: it was asked for %d times", how, name, b.asked)
	}
}

// TestRefusalIsOneShortSentence reads the answer of a server that refuses.
func TestRefusalIsOneShortSentence(t *testing.T) {
	t.Parallel()
	_, dir := audittest.Publish(t, 300)
	whole := http.FileServer(http.Dir(dir))
	b := &breaking{Handler: whole, how: "403", name: "tile/0/000", times: 1 << 30}
	s := serveTLS(b)
	defer s.Close()
	_, err := audit.Verify(t.Context(), remote.Files{Client: s.Client(), Base: s.URL + "/"},
		audit.VerifyOptions{})
	var refused *remote.RefusedError
	if !errors.As(err, &refused) || refused.Sentence != "Not you" {
		t.Errorf("%v", err)
	}
	s.Close()
	if b.asked != 1 {
		t.Errorf("a refusal was asked for %d times", b.asked)
	}
	// A refused connection is no finding either.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	nowhere := remote.Files{Client: http.DefaultClient, Base: "https://" + l.Addr().String() + "/"}
	_, err = audit.Verify(t.Context(), nowhere, audit.VerifyOptions{})
	var lost *url.Error
	if !errors.As(err, &lost) {
		t.Errorf("%v", err)
	}
}
