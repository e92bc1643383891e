//go:build unix

package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/internal/needs"
)

// TestConcurrentDepositsAddUp deposits over 64 connections at once. All deposits are applied
// exactly, and many share a commit.
func TestConcurrentDepositsAddUp(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	const connections, each = 64, 10
	commits := h.Metric(t, "atm_commits_total")
	var wg sync.WaitGroup
	for range connections {
		c := h.As(t, "demo") // each has its own connections
		wg.Go(func() {
			for range each {
				id := atm.RequestID(rand36())
				if a, err := c.Deposit(t.Context(), daemontest.Account, 101, id); err != nil ||
					!a.OK() {
					t.Errorf("%+v, %v", a, err)
				}
			}
		})
	}
	wg.Wait()
	commits = h.Metric(t, "atm_commits_total") - commits
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "1646.40" {
		t.Errorf("balance %s, want 1646.40", a.Text())
	}
	if commits >= connections*each {
		t.Errorf("%v commits for %d deposits: none shared one", commits, connections*each)
	}
	t.Logf("%d deposits over %d connections in %v commits: %.1f operations per commit",
		connections*each, connections, commits, connections*each/commits)
	deposits := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == atm.Deposit && e.Status.Code == atm.OK
	})
	if deposits != connections*each {
		t.Errorf("%d deposits in the log", deposits)
	}
}

var ids atomic.Int64

// rand36 is a request id that is unique in the test.
func rand36() string { return fmt.Sprintf("test-%d", ids.Add(1)) }

func TestMulticallAnswersEachCall(t *testing.T) {
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	var calls [][]string
	for range 100 {
		calls = append(calls, []string{"deposit", "100", "1"})
	}
	commits := h.Metric(t, "atm_commits_total")
	_, text := h.Post(t, c, daemontest.Multicall(calls...), nil)
	for i := 1; i <= 100; i++ { // in order
		want := fmt.Sprintf("<name>result</name><value><string>%d.00</string>", 1000+i)
		at := strings.Index(text, want)
		if at < 0 {
			t.Fatalf("no result %d", i)
		}
		text = text[at+len(want):]
	}
	if commits = h.Metric(t, "atm_commits_total") - commits; commits > 50 {
		t.Errorf("100 deposits in one multicall took %v commits", commits)
	}

	_, text = h.Post(t, c, daemontest.Multicall(
		// one, not two
		[]string{"deposit", "100", "5", "one"}, []string{"deposit", "100", "5.00", "one"},
		[]string{"steal", "100"},
		[]string{"withdraw", "100"},
		[]string{"system.multicall"},
		[]string{"withdraw", "100", "999999"},
		[]string{"inquiry", "100"},
	), nil)
	for _, want := range []string{
		"-32601", "-32602", "-32600", "Insufficient Funds",
		"<string>1105.00</string>",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if got := strings.Count(text, "<string>1105.00</string>"); got != 3 {
		t.Errorf("%d items tell the balance 1105.00, want 3", got)
	}

	calls = append(calls, []string{"deposit", "100", "1"})
	for name, body := range map[string]string{
		"101 calls": daemontest.Multicall(calls...),
		"a broken item": strings.Replace(daemontest.Multicall([]string{"deposit", "100", "1"},
			[]string{"deposit", "100", "1"}), "params", "parms", 1),
		"a request id":   daemontest.Multicall([]string{"deposit", "100", "1"}),
		"cut off at end": daemontest.Multicall([]string{"deposit", "100", "1"})[:300],
	} {
		_, text := h.Post(t, c, body, func(r *http.Request) {
			if name == "a request id" {
				r.Header.Set("Idempotency-Key", "x")
			}
		})
		if !strings.Contains(text, "<fault>") {
			t.Errorf("%s: %.300s", name, text)
		}
	}
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "1105.00" {
		t.Errorf("a refused multicall moved money: %s", a.Text())
	}
	faults := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Status != nil && e.Status.Code == atm.Fault
	})
	// The withdrawal without an amount is one of the entries. Calls of system methods and unknown
	// methods are no operations.
	if faults != 1 {
		t.Errorf("%d faults in the log, want 1", faults)
	}
}

// TestRequestIDMeansOneIntention sends one intention in every possible form.
func TestRequestIDMeansOneIntention(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	body := func(amount, id string) string {
		b := "<methodCall><methodName>deposit</methodName><params><param><value><int>100</int></value></param><param><value>" +
			amount + "</value></param>"
		if id != "" {
			b += "<param><value>" + id + "</value></param>"
		}
		return b + "</params></methodCall>"
	}
	key := func(id string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Idempotency-Key", id) }
	}
	_, first := h.Post(t, c, body("<string>5.00</string>", "mine"), nil)
	if !strings.Contains(first, "<string>1005.00</string>") {
		t.Fatal(first)
	}
	for _, again := range []struct {
		body string
		head func(*http.Request)
	}{
		{body("<int>5</int>", "mine"), nil},
		{body("<double>5.0</double>", "mine"), nil},
		{body("<double>5.000000000000001</double>", "mine"), nil},
		{body("5", "mine"), nil},
		{body("<int>5</int>", ""), key("mine")},
		{body("<int>5</int>", "mine"), key("mine")},
		{daemontest.Call("deposit", "0100", "5", "mine"), nil},
	} {
		if _, text := h.Post(t, c, again.body, again.head); text != first {
			t.Errorf("%s: %s", again.body, text)
		}
	}
	for name, other := range map[string]struct {
		body string
		head func(*http.Request)
		want string
	}{
		"another amount": {body("<int>6</int>", "mine"), nil, "IDEMPOTENCY_CONFLICT"},
		"another operation": {
			daemontest.Call("withdraw", "100", "5", "mine"), nil,
			"IDEMPOTENCY_CONFLICT",
		},
		"another id in front": {body("<int>5</int>", "mine"), key("yours"), "IDEMPOTENCY_CONFLICT"},
		"no id at all":        {body("<int>5</int>", "<nil/>"), nil, "<string>1010.00</string>"},
		"an old id": {
			body("<int>5</int>", "0185f000-0000-7000-8000-000000000000"), nil,
			"IDEMPOTENCY_KEY_EXPIRED",
		},
		"an id too long":    {body("<int>5</int>", strings.Repeat("x", 129)), nil, "-32602"},
		"an id of controls": {body("<int>5</int>", "a&#10;b"), nil, "-32602"},
	} {
		if _, text := h.Post(t, c, other.body, other.head); !strings.Contains(text, other.want) {
			t.Errorf("%s: %s", name, text)
		}
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, text := h.Post(t, c, body("<int>7</int>", "together"),
				nil); !strings.Contains(text, "<string>1017.00</string>") {
				t.Errorf("one of fifty: %s", text)
			}
		})
	}
	wg.Wait()
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "1017.00" {
		t.Errorf("balance %s", a.Text())
	}
	for _, e := range h.Entries(t) {
		for _, arg := range e.Args {
			if arg.Name == "request_id" {
				t.Errorf("an entry has the request id %q", arg.Value)
			}
		}
	}
}

// TestRequestIDHasOneEffectAcrossARestart sends one request id many times in one multicall, and
// again after a restart. It has one effect and one answer.
func TestRequestIDHasOneEffectAcrossARestart(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	calls := make([][]string, 50)
	for i := range calls {
		calls[i] = []string{"deposit", "100", "5", "same"}
	}
	_, text := h.Post(t, daemontest.HTTPClient(t, h.TLS(t, "demo")),
		daemontest.Multicall(calls...), nil)
	if strings.Count(text, "<string>1005.00</string>") != 50 ||
		strings.Contains(text, "<string>1010.00</string>") {
		t.Fatal(text)
	}
	_, first := h.Post(t, daemontest.HTTPClient(t, h.TLS(t, "demo")), daemontest.Call("deposit",
		"100", "5", "same"), nil)
	_, refused := h.Post(t, daemontest.HTTPClient(t, h.TLS(t, "demo")), daemontest.Call("withdraw",
		"100", "5000",
		"too much"), nil)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartIn(t, h.Data, nil)
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 10_000_00, "more"))
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	if _, again := h.Post(t, c, daemontest.Call("deposit", "100", "5.00", "same"),
		nil); again != first {
		t.Errorf("after the restart: %s\nbefore: %s", again, first)
	}
	if _, again := h.Post(t, c, daemontest.Call("withdraw", "100", "5000", "too much"),
		nil); again != refused {
		t.Errorf("after the restart: %s\nbefore: %s", again, refused)
	}
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "11005.00" {
		t.Errorf("balance %s", a.Text())
	}
}

// TestAmountsOnTheWireAreExact sends amounts of every kind, and finds in the balance how they
// were read.
func TestAmountsOnTheWireAreExact(t *testing.T) {
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	for value, want := range map[string]string{
		"<double>0.78000000000000009</double>":                "OK",
		"<string>-5</string>":                                 "AMOUNT_NOT_POSITIVE",
		"<int>0</int>":                                        "AMOUNT_NOT_POSITIVE",
		"<string>abc</string>":                                "AMOUNT_INVALID",
		"<string>1e3</string>":                                "AMOUNT_INVALID",
		"<string>0.001</string>":                              "AMOUNT_PRECISION",
		"<double>0.001</double>":                              "AMOUNT_PRECISION",
		"<double>nan</double>":                                "AMOUNT_INVALID",
		"<double>-inf</double>":                               "AMOUNT_INVALID",
		"<string>NaN</string>":                                "AMOUNT_INVALID",
		"<string>99999999999999</string>":                     "AMOUNT_TOO_LARGE",
		"<double>1e300</double>":                              "AMOUNT_TOO_LARGE",
		"<i8>9223372036854775807</i8>":                        "AMOUNT_TOO_LARGE",
		"<string></string>":                                   "AMOUNT_INVALID",
		"<boolean>1</boolean>":                                "-32602",
		"<array><data></data></array>":                        "-32602",
		"<nil/>":                                              "-32602",
		"<base64>NQ==</base64>":                               "-32602",
		"<string>" + strings.Repeat("9", 60000) + "</string>": "AMOUNT_TOO_LARGE",
	} {
		body := "<methodCall><methodName>withdraw</methodName><params><param><value><int>100</int></value></param><param><value>" +
			value + "</value></param></params></methodCall>"
		if _, text := h.Post(t, c, body, nil); !strings.Contains(text, ">"+want+"<") {
			t.Errorf("%.60s: %.500s, want %s", value, text, want)
		}
	}
	for value, want := range map[string]string{
		"<string>nobody</string>": "Account nobody was not found",
		"<string>" + strings.Repeat("ü", 30000) + "</string>": "Account " + strings.Repeat("ü",
			64) + "… was not found",
		"<i8>9007199254740992</i8>": "Account 9007199254740992 was not " +
			"found",
		"<int>4294967296</int>": "Account 4294967296 was not found",
		"<string>cash:user:demo</string>": "Account cash:user:demo was not " +
			"found",
		"<string>equity:opening</string>": "Account equity:opening was not " +
			"found",
	} {
		body := "<methodCall><methodName>withdraw</methodName><params><param><value>" + value +
			"</value></param><param><value><int>1</int></value></param></params></methodCall>"
		if _, text := h.Post(t, c, body, nil); !strings.Contains(text, ">"+want+"<") ||
			!strings.Contains(text, "ACCOUNT_NOT_FOUND") {
			t.Errorf("%.60s: %.600s, want %s", value, text, want)
		}
	}
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "999.22" {
		t.Errorf("balance %s", a.Text())
	}
	h.Entries(t)
}

// TestStatementRefusesUnknownMembers requests statements with unknown members and members of
// wrong types.
func TestStatementRefusesUnknownMembers(t *testing.T) {
	h := daemontest.Start(t, nil)
	c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
	for member, want := range map[string]string{
		"<name>limit</name><value><int>1</int></value>": ">OK<",
		"<name>limit</name><value>1</value>": "limit of a statement is of the " +
			"wrong type",
		"<name>from</name><value><int>1</int></value>": "from of a statement is of the " +
			"wrong type",
		"<name>most</name><value>1</value>":                 "a statement has no most",
		"<name>most</name><value><int>1</int></value>":      "a statement has no most",
		"<name>from</name><value>yesterday</value>":         "from is no time in RFC 3339",
		"<name>limit</name><value><int>0</int></value>":     "limit is a number from 1 to 500",
		"<name>cursor</name><value>nothing of ours</value>": "CURSOR_INVALID",
	} {
		body := "<methodCall><methodName>statement</methodName><params><param><value>100</value></param><param><value><struct><member>" +
			member + "</member></struct></value></param></params></methodCall>"
		if _, text := h.Post(t, c, body, nil); !strings.Contains(text, want) {
			t.Errorf("%s: %.600s, want %s", member, text, want)
		}
	}
}

// TestStopUnderLoadLosesNoAnswer stops the server under load. Every answer that a client got is
// true, and a client without an answer gets an error that says so.
func TestStopUnderLoadLosesNoAnswer(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "atm-data")
	h := daemontest.StartIn(t, data, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var acknowledged, doubtful atomic.Int64
	var wg sync.WaitGroup
	begun := make(chan struct{}, 1024)
	for range 32 {
		c, err := client.New(client.Config{
			Server: "https://" + h.Addr, TLS: h.TLS(t, "demo"),
			Tries: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				a, err := c.Deposit(ctx, daemontest.Account, 1, atm.RequestID(rand36()))
				var unknown *client.OutcomeUnknownError
				switch {
				case err == nil && a.OK():
					acknowledged.Add(1)
					select {
					case begun <- struct{}{}:
					default:
					}
				case errors.As(err, &unknown):
					doubtful.Add(1)
					return
				default: // the server has stopped
					return
				}
			}
		})
	}
	for range 200 {
		<-begun
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if doubtful.Load() > 0 {
		t.Errorf("%d requests got no answer from a server that stopped cleanly", doubtful.Load())
	}
	h = daemontest.StartIn(t, data, nil)
	want := atm.Amount(100000 + acknowledged.Load()).String()
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != want {
		t.Errorf("balance %s, %d acknowledged cents make %s", a.Text(), acknowledged.Load(), want)
	}
	h.Entries(t)
}

// TestPythonsClientDoesEverything carries out everything with the client of Python's standard
// library.
func TestPythonsClientDoesEverything(t *testing.T) {
	python := needs.Program(t, "python3")
	h := daemontest.Start(t, nil)
	cmd := exec.Command(python, "testdata/client.py", "https://"+h.Addr+"/RPC2",
		filepath.Join(h.Data, "clients", "demo"))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Errorf("%v\n%s", err, out)
	}
	if got := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Event == audit.EventOp
	}); got != 9 {
		t.Errorf("%d operations in the log, want 9", got)
	}
}

// TestInitOnAFullDiskGoesOnLater starts on a new folder with a reserve larger than the disk,
// and then without it.
func TestInitOnAFullDiskGoesOnLater(t *testing.T) {
	daemontest.Once(t)
	data := filepath.Join(t.TempDir(), "atm-data")
	_, err := daemon.Open(t.Context(), daemon.Options{
		Data: data, DiskReserve: 1 << 62, Log: daemontest.Discard,
	})
	if err == nil || !strings.Contains(err.Error(), "are free on the disk of "+data+", fewer "+
		"than the reserve of 4611686018427387904 (--disk-reserve)") {
		t.Errorf("%v", err)
	}
	h := daemontest.StartOne(t, data, nil)
	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != "1000.00" {
		t.Errorf("balance %s, want 1000.00", a.Text())
	}
}
