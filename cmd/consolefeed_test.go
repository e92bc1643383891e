//go:build unix

package cmd_test

import (
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestCustomerSubscribesInABrowserAndAProgramIsSentEvents subscribes a program by the keyboard, and
// looks at the page until it says that the test event arrived. What is deposited then arrives too.
func TestCustomerSubscribesInABrowserAndAProgramIsSentEvents(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	s := startFeedServer(t)
	deposits := make(chan *sent, 100)
	program := newSink(t, s, func(_ string, w *sent) mood {
		if w.Type == "atm.deposit" {
			deposits <- w
		}
		return accepts
	})
	program.on(t)
	b.do(chromedp.Navigate(s.openConsole(t, "demo")), chromedp.WaitVisible(".accounts a"))
	b.leave(`main a[href="/console/feed"]`)
	b.do(chromedp.WaitVisible(".empty"))
	b.leave(`a[href="/console/feed/add"]`)
	b.do(chromedp.WaitVisible("#f-name"))
	b.accessible()

	// Keys alone: the name has the focus, the next field is the URL, the account is the only one.
	b.do(chromedp.KeyEvent("books"), chromedp.KeyEvent(kb.Tab),
		chromedp.KeyEvent(program.url("books")), chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(".line"))
	want := "Send to " + program.url("books") + " entries of account 100. The subscription is " +
		"called books."
	if got := b.text(".line"); got != want {
		t.Errorf("before it is subscribed, the page says %q", got)
	}
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("dl code"))
	b.accessible()
	told, err := s.demo(t, 1).Call(t.Context(), "feed.secret", "books")
	if err != nil || !told.OK() {
		t.Fatalf("%v, %v", told, err)
	}
	record, _ := told.Result.(map[string]any)
	secret, _ := record["secret"].(string)
	if got := b.text("main"); secret == "" || !strings.Contains(got, secret) {
		t.Errorf("the page does not tell the secret: %s", got)
	}

	at := result(b, chromedp.Location())
	b.do(chromedp.Navigate(strings.Replace(at, "/feed/add", "/feed/test?name=books", 1)),
		chromedp.WaitVisible(".line"), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("[role=status]"))
	eventually(t, "the test event arrives", func() bool {
		if got := b.text("[role=status]"); got == "Test event 1 arrived." {
			return true
		}
		b.do(chromedp.Navigate(strings.Replace(at, "/feed/add", "/feed/subscriptions/books", 1)),
			chromedp.WaitVisible("[role=status]"))
		return false
	})
	b.accessible()

	if _, err := s.demo(t, 1).Deposit(t.Context(), 100, 500,
		atm.RequestID(atm.NewUUID(time.Now()))); err != nil {
		t.Fatal(err)
	}
	select {
	case w := <-deposits:
		if !strings.Contains(string(w.Data.Known)+w.Data.Entry, "5.00") {
			t.Errorf("the event of a deposit: %s", w.body)
		}
	case <-time.After(patience):
		t.Fatal("no event of the deposit arrives")
	}
}
