package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
)

// answer is a status dict on the wire.
func answer(status, reason, result, code string) string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><methodResponse><params><param><value><struct>`)
	for _, m := range [][2]string{
		{"status", status},
		{"reason", reason},
		{"result", result},
		{"code", code},
		{"receipt", ""},
	} {
		fmt.Fprintf(&b, "<member><name>%s</name><value><string>%s</string></value></member>",
			m[0], m[1])
	}
	return b.String() + "</struct></value></param></params></methodResponse>"
}

// script is an HTTPS server that answers requests by its steps in order, and repeats the last
// step. It keeps the bodies that it receives.
func script(t *testing.T, steps ...http.HandlerFunc) (c *client.Client, bodies func() []string) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		step := steps[min(len(got), len(steps)-1)]
		got = append(got, string(body))
		mu.Unlock()
		step(w, r)
	}))
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c, err := client.New(client.Config{
		Server: server.URL, TLS: &tls.Config{RootCAs: roots},
		Tries: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
}

func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func refuse(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "a sentence", code) }
}

const paid = "1005.00"

func TestRetriesRepeatOneRequestID(t *testing.T) {
	for name, first := range map[string]http.HandlerFunc{
		"dropped":     drop,
		"503":         refuse(503),
		"unavailable": text(answer("ERROR", "busy", "", "UNAVAILABLE")),
		"unknown":     text(answer("ERROR", "repeat", "", "OUTCOME_UNKNOWN")),
	} {
		c, bodies := script(t, first, text(answer("OK", "", paid, "OK")))
		a, err := c.Deposit(t.Context(), 100, 500, "mine")
		if err != nil || !a.OK() || a.Text() != paid {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		for _, body := range bodies() {
			if body != bodies()[0] || !strings.Contains(body, "mine") {
				t.Errorf("%s: a try differs from the first: %s", name, body)
			}
		}
		if len(bodies()) < 2 {
			t.Errorf("%s: sent %d times", name, len(bodies()))
		}
	}
}

// Methods that make agreements have no parameter for a request id.
func TestAgreementsAreSentAgainWithOneRequestIDInTheHeader(t *testing.T) {
	for name, create := range map[string]func(*client.Client) (*client.Answer, error){
		"mandate": func(c *client.Client) (*client.Answer, error) {
			return c.CreateMandate(t.Context(), 100, client.MandateTerms{
				Creditor: "service:gas", Each: 5000,
			}, "mine")
		},
		"order": func(c *client.Client) (*client.Answer, error) {
			return c.CreateOrder(t.Context(), 100, client.OrderTerms{
				To: 200, Amount: 2500, Every: "day",
			}, "mine")
		},
	} {
		keys := make(chan string, 10)
		keep := func(next http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				keys <- r.Header.Get("Idempotency-Key")
				next(w, r)
			}
		}
		c, bodies := script(t, keep(drop), keep(text(answer("OK", "", "m7", "OK"))))
		if a, err := create(c); err != nil || a.Text() != "m7" {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		for i, body := range bodies() {
			if key := <-keys; key != "mine" || strings.Contains(body, "mine") {
				t.Errorf("%s: try %d has the id %q and the body %s", name, i, key, body)
			}
		}
		if len(bodies()) < 2 {
			t.Errorf("%s: sent %d times", name, len(bodies()))
		}
		c, _ = script(t, drop)
		var unknown *client.OutcomeUnknownError
		if _, err := create(c); !errors.As(err, &unknown) || unknown.Request != "mine" {
			t.Errorf("%s: the answer got lost: %v", name, err)
		}
		if _, err := c.CreateOrder(t.Context(), 100, client.OrderTerms{}, "naïve"); err == nil ||
			!strings.Contains(err.Error(), "printable ASCII") {
			t.Errorf("an id that no header takes: %v", err)
		}
	}
}

func TestLostAnswerIsAnUnknownOutcomeForMoneyAlone(t *testing.T) {
	c, _ := script(t, drop)
	_, err := c.Withdraw(t.Context(), 100, 500, "mine")
	var unknown *client.OutcomeUnknownError
	if !errors.As(err, &unknown) || unknown.Request != "mine" {
		t.Errorf("money: %v", err)
	}
	if _, err := c.Inquiry(t.Context(), 100); !errors.Is(err, client.ErrLost) ||
		errors.As(err, &unknown) {
		t.Errorf("a question: %v", err)
	}
}

// faulty answers with a fault.
func faulty(code int) http.HandlerFunc {
	return text(fmt.Sprintf(`<methodResponse><fault><value><struct><member><name>faultCode</name>`+
		`<value><int>%d</int></value></member><member><name>faultString</name>`+
		`<value><string>no</string></value></member></struct></value></fault></methodResponse>`,
		code))
}

// TestFailureOfServerOrProxyIsAnUnknownOutcome has tries fail that may have moved money.
func TestFailureOfServerOrProxyIsAnUnknownOutcome(t *testing.T) {
	for name, steps := range map[string][]http.HandlerFunc{
		"500":                          {refuse(500)},
		"502":                          {refuse(502)},
		"504":                          {refuse(504)},
		"504 before the server stops":  {refuse(504), refuse(503)},
		"lost before another is fault": {drop, faulty(-32602)},
		"internal error":               {faulty(-32603)},
	} {
		c, _ := script(t, steps...)
		_, err := c.Deposit(t.Context(), 100, 500, "mine")
		var unknown *client.OutcomeUnknownError
		if !errors.As(err, &unknown) || unknown.Request != "mine" {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, _ := script(t, refuse(503))
	_, err := c.Deposit(t.Context(), 100, 500, "mine")
	var unknown *client.OutcomeUnknownError
	if err == nil || errors.As(err, &unknown) {
		t.Errorf("503: %v", err)
	}
}

func TestDefiniteAnswersAreNotRetried(t *testing.T) {
	var fault *client.FaultError
	var refusal *client.HTTPError
	for name, tt := range map[string]struct {
		step http.HandlerFunc
		want func(*client.Answer, error) bool
	}{
		"refused": {
			text(answer("ERROR", "Insufficient Funds", "", "INSUFFICIENT_FUNDS")),
			func(a *client.Answer, err error) bool {
				return err == nil && a.Code == atm.InsufficientFunds
			},
		},
		"401": {refuse(401), func(_ *client.Answer, err error) bool {
			return errors.Is(err, client.ErrNotAuthenticated)
		}},
		"413": {refuse(413), func(_ *client.Answer, err error) bool {
			return errors.As(err, &refusal) && refusal.Sentence == "a sentence"
		}},
		"fault": {text(
			`<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>-32602</int></value></member><member><name>faultString</name><value><string>no</string></value></member></struct></value></fault></methodResponse>`), func(_ *client.Answer, err error) bool {
			return errors.As(err, &fault) && fault.Code == -32602
		}},
		"redirection": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		}, func(_ *client.Answer, err error) bool {
			return errors.As(err, &refusal) && refusal.StatusCode == http.StatusTemporaryRedirect
		}},
	} {
		c, bodies := script(t, tt.step)
		if a, err := c.Deposit(t.Context(), 100, 500, "mine"); !tt.want(a, err) ||
			len(bodies()) != 1 {
			t.Errorf("%s: %+v, %v, sent %d times", name, a, err, len(bodies()))
		}
	}
}

func TestUnreachableServerIsAConnectError(t *testing.T) {
	c, err := client.New(client.Config{Server: "https://localhost:1", TLS: &tls.Config{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Deposit(t.Context(), 100, 500, "mine"); !errors.Is(err, client.ErrConnect) {
		t.Errorf("%v", err)
	}
	if _, err := client.New(client.Config{Server: "http://localhost"}); err == nil {
		t.Error("a server without TLS was accepted")
	}
}
