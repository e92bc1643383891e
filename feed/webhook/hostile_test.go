package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"example.com/atm/feed/webhook"
)

// short is the bound where it must be reached.
const short = 500 * time.Millisecond

const noWholeAnswer = "there was no whole answer within 500ms"

// respond reads a request and writes an answer.
func respond(answer string) func(net.Conn) {
	return func(c net.Conn) {
		if request(c) {
			io.WriteString(c, answer)
		}
	}
}

// request reads a whole request.
func request(c net.Conn) bool {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err == nil
}

// hang waits for the sender to close the connection.
func hang(c net.Conn) { io.Copy(io.Discard, c) }

func then(first, second func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) { first(c); second(c) }
}

// forEver writes text again and again, until the connection is closed.
func forEver(text string, each time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
			time.Sleep(each) // it is what makes the answer slow
		}
	}
}

// slowly writes text byte by byte, and never comes to its end.
func slowly(text string) func(net.Conn) {
	return func(c net.Conn) {
		for _, b := range []byte(text) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
		hang(c)
	}
}

func noConversation(net.Conn) {}

func TestHostileReceiverEndsNothingButItsOwnTry(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name   string
		within time.Duration
		behave func(net.Conn)
		status int
		want   string
	}{
		{"hangs before headers", short, hang, 0, noWholeAnswer},
		{
			"hangs after headers", short,
			then(respond(head+"Content-Length: 5\r\n\r\n"), hang), 0, noWholeAnswer,
		},
		{
			"hangs within headers", short, then(respond(head+"Content-Le"), hang), 0,
			noWholeAnswer,
		},
		{
			"headers byte by byte", short,
			then(respond(""), slowly(head+strings.Repeat("A: a\r\n", 1000))), 0, noWholeAnswer,
		},
		{
			"body byte by byte", short,
			then(respond(head+"Content-Length: 1000000\r\n\r\n"), forEver("a", time.Millisecond)), 0,
			noWholeAnswer,
		},
		{
			"chunks byte by byte", short,
			then(respond(head+"Transfer-Encoding: chunked\r\n\r\n"),
				forEver("1\r\na\r\n", time.Millisecond)), 0, noWholeAnswer,
		},
		{
			"1 MB of headers", long,
			respond(head + strings.Repeat("A: "+strings.Repeat("a", 1020)+"\r\n", 1024) + "\r\n"), 0,
			"there was no answer: ",
		},
		{
			"one header of 1 MB", long, respond(head + "A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n"),
			0, "there was no answer: ",
		},
		{
			"headers for ever", long, then(respond(head), forEver("A: a\r\n", 0)), 0,
			"there was no answer: ",
		},
		{
			"informational answers for ever", long,
			then(respond(""), forEver("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0)), 0,
			"there was no answer: ",
		},
		{
			"another protocol that hangs", long,
			then(respond("HTTP/1.1 101 Switching Protocols\r\n"+
				"Upgrade: a\r\nConnection: Upgrade\r\n\r\n"), hang),
			101, "101 Switching Protocols",
		},
		{"closes before the handshake", long, nil, 0, "closed the connection"},
		{"closes before an answer", long, respond(""), 0, "closed the connection"},
		{"closes within headers", long, respond(head + "A: "), 0, "closed the connection"},
		{
			"closes within the body", long, respond(head + "Content-Length: 100\r\n\r\nshort"), 0,
			"closed the connection",
		},
		{
			"closes within a chunk", long,
			respond(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nsh"), 0, "closed the connection",
		},
		{"no HTTP", long, respond("220 mail.example ESMTP\r\n"), 0, "there was no answer: "},
		{
			"two lengths", long,
			respond(head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\na"), 0,
			"there was no answer: ",
		},
		{"HTTP/1.0", long, respond("HTTP/1.0 200 OK\r\n\r\nto the end"), 200, ""},
		{"HTTP/1.0 without a reason", long, respond("HTTP/1.0 200\r\n\r\n"), 200, ""},
		{"a status of its own", long, respond("HTTP/1.1 799 \x1b[2J\r\n\r\n"), 799, "answered 799"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			network := newNetwork(t, loopback)
			behave := tt.behave
			if behave == nil {
				behave = noConversation
			}
			url := serveRaw(t, listen(t, loopback, 0), network.settings(t), behave)
			sender := network.sender(t, network.config(loopback), tt.within)
			answer, err := sender.Send(t.Context(), url, message(), key(1))
			if answer.Status != tt.status || !saying(err, tt.want) {
				t.Errorf("%v, %v, want %d, %q", answer, err, tt.status, tt.want)
			}
			if err != nil && (strings.ContainsFunc(err.Error(), unicode.IsControl) ||
				strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "token")) {
				t.Errorf("an address or a control character is in %q", err)
			}
			if tt.want == noWholeAnswer && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is no exceeded deadline", err)
			}
		})
	}
}

func TestReceiverWithoutTLSIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		within time.Duration
		behave func(net.Conn)
		want   string
	}{
		{"hangs", short, hang, noWholeAnswer},
		{
			"HTTP", long, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") },
			"no answer: ",
		},
		{"closes", long, noConversation, "closed the connection"},
	} {
		network := newNetwork(t, loopback)
		url := serveRaw(t, listen(t, loopback, 0), nil, tt.behave)
		sender := network.sender(t, network.config(loopback), tt.within)
		if answer, err := sender.Send(t.Context(), url, message(), key(1)); !saying(err, tt.want) {
			t.Errorf("%s: %v, %v", tt.name, answer, err)
		}
	}
	network := newNetwork(t, loopback)
	sender := network.sender(t, network.config(loopback), long)
	if answer, err := sender.Send(t.Context(), hook(freePort(t)), message(),
		key(1)); !saying(err, "refused the connection") {
		t.Errorf("gone: %v, %v", answer, err)
	}
}

// TestEndlessAnswerIsNotReadToItsEnd has receivers that send 10 GB, and stop when their
// connection is closed.
func TestEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	const all, most = 10 << 30, 256 << 20 // most is what buffers of systems can take
	piece := bytes.Repeat([]byte("all of it "), 3<<10)
	for _, status := range []int{200, 500} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			network := newNetwork(t, loopback)
			sent := make(chan int, 1)
			url := serve(t, listen(t, loopback, 0), network.settings(t),
				func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(status)
					n := 0
					for n < all {
						if _, err := w.Write(piece); err != nil {
							break
						}
						n += len(piece)
					}
					sent <- n
				})
			sender := network.sender(t, network.config(loopback), long)
			answer, err := sender.Send(t.Context(), url, message(), key(1))
			if answer.Status != status || (err == nil) != (status == 200) {
				t.Errorf("%v, %v", answer, err)
			}
			if n := <-sent; n > most {
				t.Errorf("%d bytes were sent", n)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("%d bytes are shown", len(err.Error()))
			}
		})
	}
}

// TestHostileHandlerEndsNothingButItsOwnTry is for what a handler of net/http can do.
func TestHostileHandlerEndsNothingButItsOwnTry(t *testing.T) {
	flush := func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() }
	for _, tt := range []struct {
		name    string
		within  time.Duration
		handler func(w http.ResponseWriter, gone <-chan struct{})
		want    string
	}{
		{
			"hangs before headers", short,
			func(_ http.ResponseWriter, gone <-chan struct{}) { <-gone }, noWholeAnswer,
		},
		{
			"hangs after headers", short, func(w http.ResponseWriter, gone <-chan struct{}) {
				flush(w)
				<-gone
			}, noWholeAnswer,
		},
		{
			"body byte by byte", short, func(w http.ResponseWriter, gone <-chan struct{}) {
				for flush(w) == nil {
					select {
					case <-gone:
						return
					case <-time.After(time.Millisecond): // it is what makes the answer slow
						io.WriteString(w, "a")
					}
				}
			}, noWholeAnswer,
		},
		{
			"1 MB of headers", long, func(w http.ResponseWriter, _ <-chan struct{}) {
				w.Header().Set("A", strings.Repeat("a", 1<<20))
				flush(w)
			}, "there was no answer: ",
		},
		{
			"breaks off", long, func(w http.ResponseWriter, _ <-chan struct{}) {
				io.WriteString(w, "begun")
				flush(w)
			}, "answer",
		},
	} {
		network := newNetwork(t, loopback)
		url := serve(t, listen(t, loopback, 0), network.settings(t),
			func(w http.ResponseWriter, r *http.Request) {
				tt.handler(w, r.Context().Done())
				panic(http.ErrAbortHandler) // the end of an answer is not sent
			})
		sender := network.sender(t, network.config(loopback), tt.within)
		answer, err := sender.Send(t.Context(), url, message(), key(1))
		if answer != (webhook.Answer{}) || !saying(err, tt.want) {
			t.Errorf("%s: %v, %v", tt.name, answer, err)
		}
	}
}

func TestRedirectIsAFailureAndNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		network := newNetwork(t, loopback)
		var followed atomic.Int64
		elsewhere := serve(t, listen(t, loopback, 0), network.settings(t),
			func(http.ResponseWriter, *http.Request) { followed.Add(1) })
		for _, to := range []string{"http://169.254.169.254/latest/meta-data/", elsewhere, "/b"} {
			var requests atomic.Int64
			url := serve(t, listen(t, loopback, 0), network.settings(t),
				func(w http.ResponseWriter, _ *http.Request) {
					requests.Add(1)
					w.Header().Set("Location", to)
					w.WriteHeader(status)
				})
			sender := network.sender(t, network.config(loopback), long)
			answer, err := sender.Send(t.Context(), url, message(), key(1))
			if answer.Status != status || !saying(err, "redirects are not followed") ||
				requests.Load() != 1 || followed.Load() != 0 {
				t.Errorf("%d to %s: %v, %v", status, to, answer, err)
			}
		}
	}
}

func TestAnswerOfTheReceiverIsShownInPrintableCharacters(t *testing.T) {
	network := newNetwork(t, loopback)
	url := serve(t, listen(t, loopback, 0), network.settings(t),
		func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, "no\x1b[2J\u202e\n"+strings.Repeat("x", 1000))
		})
	answer, err := network.sender(t, network.config(loopback), long).Send(t.Context(), url,
		message(), key(1))
	want := `the receiver answered 502 Bad Gateway: no\u001b[2J\u202e\u000a` +
		strings.Repeat("x", 200-len("no\x1b[2J\u202e\n"))
	if answer.Status != 502 || err == nil || err.Error() != want {
		t.Errorf("%v, %v, want %s", answer, err, want)
	}
}

func TestReceiverSaysWhenToTryAgain(t *testing.T) {
	soon := time.Now().Add(30 * time.Minute).UTC().Format(http.TimeFormat)
	for _, tt := range []struct {
		status    int
		value     string
		low, high time.Duration
	}{
		{429, "", 0, 0},
		{429, "7", 7 * time.Second, 7 * time.Second},
		{503, "7", 7 * time.Second, 7 * time.Second},
		{500, "7", 0, 0},
		{301, "7", 0, 0},
		{503, "-7", 0, 0},
		{503, "soon", 0, 0},
		{503, "3601", time.Hour, time.Hour},
		{503, strings.Repeat("9", 40), time.Hour, time.Hour},
		{503, soon, time.Second, 30 * time.Minute},
		{503, "Sun, 06 Nov 1994 08:49:37 GMT", 0, 0},
		{503, "Fri, 01 Jan 2999 00:00:00 GMT", time.Hour, time.Hour},
	} {
		network := newNetwork(t, loopback)
		url := serve(t, listen(t, loopback, 0), network.settings(t),
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", tt.value)
				w.WriteHeader(tt.status)
			})
		answer, err := network.sender(t, network.config(loopback), long).Send(t.Context(), url,
			message(), key(1))
		if err == nil || answer.Status != tt.status || answer.RetryAfter < tt.low ||
			answer.RetryAfter > tt.high {
			t.Errorf("%d, %q: %v, %v", tt.status, tt.value, answer, err)
		}
	}
}
