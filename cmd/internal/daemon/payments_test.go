//go:build unix

package daemon_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault"
)

// A market is servers of one bank, and those who pay each other: demo has account 100, alice 200,
// and service:gas 300.
type market struct {
	servers []*daemontest.Server
	made    *daemontest.Server // the server that init made the clients on

	operator, demo, alice, gas []*client.Client // of each server
}

func newMarket(t *testing.T, servers ...*daemontest.Server) *market {
	t.Helper()
	m := &market{servers: servers, made: servers[0]}
	operator := daemontest.At(t, m.made, m.made, "operator")
	for _, args := range [][]any{
		{"admin.user.add", "user:alice", "customer"},
		{"admin.user.add", "service:gas", "service"},
		{"admin.account.open", "200", "user:alice", "1000"},
		{"admin.account.open", "300", "service:gas", "10"},
	} {
		daemontest.Must(t)(operator.Call(t.Context(), args[0].(string), args[1:]...))
	}
	for subject, clients := range map[string]*[]*client.Client{
		"user:operator": &m.operator, "user:demo": &m.demo, "user:alice": &m.alice,
		"service:gas": &m.gas,
	} {
		cfg := m.tls(t, subject)
		for _, h := range servers {
			c, err := client.New(client.Config{Server: "https://" + h.Addr, TLS: cfg})
			if err != nil {
				t.Fatal(err)
			}
			*clients = append(*clients, c)
		}
	}
	return m
}

func (m *market) tls(t *testing.T, subject string) *tls.Config {
	t.Helper()
	switch subject {
	case "user:operator", "user:demo":
		return m.made.TLS(t, strings.TrimPrefix(subject, "user:"))
	}
	return m.made.IssueBy(t, m.made, subject)
}

// index is that of the entry of an answer in the log.
func index(a *client.Answer) string {
	digits, _, _ := strings.Cut(a.Receipt, " ")
	return digits
}

// atOnce calls as many times at once, with each server in turn, and counts the codes.
func atOnce(t *testing.T, times int, call func(i int) (*client.Answer, error)) map[atm.Code]int {
	t.Helper()
	var mu sync.Mutex
	codes := make(map[atm.Code]int)
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			a, err := call(i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("call %d: %v", i, err)
				return
			}
			codes[a.Code]++
		})
	}
	wg.Wait()
	return codes
}

// holds fails the test unless an account has this balance.
func (m *market) holds(t *testing.T, account atm.AccountID, want string) {
	t.Helper()
	for _, c := range m.operator {
		shown, _ := daemontest.Must(t)(c.Call(t.Context(), "admin.account.show", account.String())).
			Result.(map[string]any)
		if shown["balance"] != any(want) {
			t.Errorf("account %s has %v, not %s", account, shown["balance"], want)
		}
	}
}

// payAtOnce reverses and collects at once through all servers of a market: exactly what fits
// happens. A mandate that was revoked is refused on the next call.
func (m *market) payAtOnce(t *testing.T) {
	t.Helper()
	const times = 20
	n := len(m.servers)
	paid := index(daemontest.Must(t)(m.demo[0].Transfer(t.Context(), 100, 200, 10_00, "paid")))
	for _, tt := range []struct {
		name string
		want map[atm.Code]int
		call func(i int) (*client.Answer, error)
	}{
		{
			"parts of one entry",
			map[atm.Code]int{atm.OK: 14, atm.ReversalExceeded: 6},
			func(i int) (*client.Answer, error) {
				return m.alice[i%n].Reverse(t.Context(), paid, 70, atm.RequestID(fmt.Sprint("p", i)))
			},
		},
		{
			"what is left of it",
			map[atm.Code]int{atm.OK: 1, atm.ReversalExceeded: 19},
			func(i int) (*client.Answer, error) {
				return m.alice[i%n].Reverse(t.Context(), paid, 0, atm.RequestID(fmt.Sprint("w", i)))
			},
		},
	} {
		if got := atOnce(t, times, tt.call); !maps.Equal(got, tt.want) {
			t.Errorf("20 reversals of %s: %v", tt.name, got)
		}
	}
	m.holds(t, 100, "1000.00")
	m.holds(t, 200, "1000.00")

	mandate := daemontest.Must(t)(m.demo[0].CreateMandate(t.Context(), 100, client.MandateTerms{
		Creditor: "service:gas", Total: 10_00, Period: "month",
	}, "mandate")).Text()
	if got := atOnce(t, times, func(i int) (*client.Answer, error) {
		return m.gas[i%n].Collect(t.Context(), mandate, 70, 300, atm.RequestID(fmt.Sprint("c", i)))
	}); !maps.Equal(got, map[atm.Code]int{atm.OK: 14, atm.MandateExceeded: 6}) {
		t.Errorf("20 collections of 0.70 under a mandate for 10.00: %v", got)
	}
	m.holds(t, 100, "990.20")
	m.holds(t, 300, "19.80")
	for i := range n { // revoked on one server, and asked for on another
		mandate := daemontest.Must(t)(m.demo[i].CreateMandate(t.Context(), 100, client.MandateTerms{
			Creditor: "service:gas", Each: 5_00,
		}, atm.RequestID(fmt.Sprint("each ", i)))).Text()
		daemontest.Must(t)(m.gas[i].Collect(t.Context(), mandate, 1, 300, atm.RequestID(mandate)))
		daemontest.Must(t)(m.demo[i].RevokeMandate(t.Context(), mandate))
		for j := range n {
			a, err := m.gas[j].Collect(t.Context(), mandate, 1, 300, "")
			if err != nil || a.Code != atm.MandateEnded {
				t.Errorf("a revoked mandate: %+v, %v", a, err)
			}
		}
	}
}

// sound stops the servers of a market, and fails the test unless fsck finds nothing.
func (m *market) sound(t *testing.T, store storage.Location) {
	t.Helper()
	for i := len(m.servers) - 1; i >= 0; i-- {
		if err := m.servers[i].Stop(); err != nil {
			t.Fatal(err)
		}
	}
	for _, problem := range checked(t, offline.Folder{Data: m.made.Data, Store: store}) {
		t.Error(problem)
	}
}

// TestReversalsAndCollectionsAtOnceAreThoseThatFit pays at once over many connections.
func TestReversalsAndCollectionsAtOnceAreThoseThatFit(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	m := newMarket(t, daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil))
	m.payAtOnce(t)
	m.sound(t, storage.Location{})
}

// TestReversalsAndCollectionsOnTwoReplicasAreThoseThatFit pays at once over two servers.
func TestReversalsAndCollectionsOnTwoReplicasAreThoseThatFit(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	a, b, store := pair(t)
	m := newMarket(t, a, b)
	m.payAtOnce(t)
	m.sound(t, store)
}

// TestPaymentsHaveOneEffectAcrossARestart repeats reversals, collections and notices, alone and
// in one call of many, before and after a restart.
func TestPaymentsHaveOneEffectAcrossARestart(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	m := newMarket(t, h)
	paid := index(daemontest.Must(t)(m.demo[0].Transfer(t.Context(), 100, 200, 10_00, "paid")))
	mandate := daemontest.Must(t)(m.demo[0].CreateMandate(t.Context(), 100, client.MandateTerms{
		Creditor: "service:gas", Each: 5_00,
	}, "mandate")).Text()
	if again := daemontest.Must(t)(m.demo[0].CreateMandate(t.Context(), 100, client.MandateTerms{
		Creditor: "service:gas", Each: 5_00,
	}, "mandate")).Text(); again != mandate {
		t.Errorf("one request made the mandates %s and %s", mandate, again)
	}
	alice, gas := m.tls(t, "user:alice"), m.tls(t, "service:gas")
	asked := []struct {
		by   *tls.Config
		body string
	}{
		{alice, daemontest.Call("reverse", paid, "3", "r1", "too much")},
		{alice, daemontest.Call("reverse", paid, "7.01", "r2")},
		{gas, daemontest.Call("collect", mandate, "4", "300", "c1")},
		{gas, daemontest.Call("collect", mandate, "5.01", "300", "c2")},
		{gas, daemontest.Call("note", "100", "Your meter was read.", "n1")},
		{alice, daemontest.Multicall(
			[]string{"reverse", paid, "1", "r3"}, []string{"reverse", paid, "1.00", "r3"},
			[]string{"reverse", paid, "6.01", "r4"},
			[]string{"transfer", "200", "100", "1", "t1"},
		)},
		{gas, daemontest.Multicall(
			[]string{"collect", mandate, "1", "300", "c3"},
			[]string{"collect", mandate, "1.00", "300", "c3"}, []string{"note", "100", "Paid.", "n2"},
			[]string{"note", "200", "You are a stranger.", "n3"},
		)},
	}
	ask := func(i int) string {
		_, text := h.Post(t, daemontest.HTTPClient(t, asked[i].by), asked[i].body, nil)
		return text
	}
	var first []string
	for i := range asked {
		first = append(first, ask(i))
	}
	for i, want := range []string{
		"3.00", "REVERSAL_EXCEEDED", "4.00", "MANDATE_EXCEEDED", "OK", "REVERSAL_EXCEEDED",
		"ACCOUNT_NOT_FOUND",
	} {
		if !strings.Contains(first[i], ">"+want+"<") {
			t.Errorf("%s is answered %s, without %s", asked[i].body, first[i], want)
		}
	}
	again := func() {
		t.Helper()
		for i := range asked {
			if text := ask(i); text != first[i] {
				t.Errorf("%s is answered %s\nand first %s", asked[i].body, text, first[i])
			}
		}
		m.holds(t, 100, "990.00") // 10 paid, 3 and 1 back, 1 transferred; 4 and 1 collected
		m.holds(t, 300, "15.00")
	}
	again()
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = daemontest.StartIn(t, h.Data, nil)
	m.demo[0], m.operator[0] = h.As(t, "demo"), h.As(t, "operator")
	again()
	if _, text := h.Post(t, daemontest.HTTPClient(t, alice), daemontest.Call("reverse", paid, "2",
		"r1"), nil); !strings.Contains(text, "IDEMPOTENCY_CONFLICT") {
		t.Errorf("the request id of another amount is answered %s", text)
	}
	listed, _ := daemontest.Must(t)(m.demo[0].Notices(t.Context(), 100, 0, "")).
		Result.(map[string]any)
	if notices, _ := listed["entries"].([]any); len(notices) != 2 {
		t.Errorf("the notices are %v", listed)
	}
	entries := h.Entries(t)
	for op, want := range map[atm.Operation]int{atm.Reverse: 2, atm.Collect: 2, atm.Notify: 2} {
		if n := daemontest.Count(entries, func(e *audit.Entry) bool {
			return e.Operation == op && e.Status.Code == atm.OK && e.ReplayOf < 0
		}); n != want {
			t.Errorf("%s was carried out %d times, want %d", op, n, want)
		}
	}
}

// TestForeignIsAnsweredAsUnknown asks for mandates, orders, entries and accounts of somebody else,
// and for none at all: the answers differ in what was asked for alone.
func TestForeignIsAnsweredAsUnknown(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	m := newMarket(t, h)
	moved := index(daemontest.Must(t)(m.demo[0].Deposit(t.Context(), 100, 10_00, "paid")))
	mandate := daemontest.Must(t)(m.demo[0].CreateMandate(t.Context(), 100, client.MandateTerms{
		Creditor: "user:other", Each: 5_00,
	}, "mandate")).Text()
	order := daemontest.Must(t)(m.demo[0].CreateOrder(t.Context(), 100, client.OrderTerms{
		To: 200, Amount: 1_00, Every: "day",
	}, "order")).Text()
	revoked := daemontest.Must(t)(m.demo[0].CreateMandate(t.Context(), 100, client.MandateTerms{
		Creditor: "user:other", Each: 5_00,
	}, "another")).Text()
	daemontest.Must(t)(m.demo[0].RevokeMandate(t.Context(), revoked))
	receipt := regexp.MustCompile(`\d+ [0-9A-Za-z+/]{43}=`)
	c := daemontest.HTTPClient(t, m.tls(t, "user:alice"))
	for _, tt := range []struct{ call, foreign, unknown []string }{
		{[]string{"reverse", "?"}, []string{moved}, []string{"999999"}},
		{[]string{"reverse", "?", "999999"}, []string{moved}, []string{"999999"}},
		{[]string{"mandate.revoke", "?"}, []string{mandate, revoked}, []string{"m999999", "x"}},
		{[]string{"collect", "?", "1", "200"}, []string{mandate, revoked}, []string{"m999999", ""}},
		{[]string{"collect", "?", "99999", "100"}, []string{mandate}, []string{"m999999"}},
		{[]string{"order.show", "?"}, []string{order}, []string{"o999999", "o01"}},
		{[]string{"order.cancel", "?"}, []string{order}, []string{"o999999", "1"}},
		{[]string{"mandate.list", "?"}, []string{"100"}, []string{"999"}},
		{[]string{"order.list", "?"}, []string{"100"}, []string{"999"}},
		{[]string{"note", "?", "Hello"}, []string{"100"}, []string{"999"}},
		{[]string{"notices", "?"}, []string{"100"}, []string{"999"}},
	} {
		answers := make(map[string]string)
		for _, id := range append(tt.foreign, tt.unknown...) {
			args := make([]string, len(tt.call)-1)
			for i, arg := range tt.call[1:] {
				args[i] = strings.Replace(arg, "?", id, 1)
			}
			_, text := h.Post(t, c, daemontest.Call(tt.call[0], args...), nil)
			text = receipt.ReplaceAllString(text, "RECEIPT")
			if tt.call[0][0] == 'm' && strings.Contains(tt.call[0], "list") || id == "100" ||
				id == "999" {
				text = strings.ReplaceAll(text, "Account "+id+" ", "Account ? ")
			}
			if !strings.Contains(text, "_NOT_FOUND<") || !strings.Contains(text, "RECEIPT") {
				t.Errorf("%v of %s is answered %s", tt.call, id, text)
			}
			answers[text] = id
		}
		if len(answers) != 1 {
			t.Errorf("%v tells what is foreign: %v", tt.call, answers)
		}
	}
	m.holds(t, 100, "1010.00")
}

// TestPaymentsOutliveRebuildRestoreAndMoves rebuilds a vault with mandates, standing orders,
// reversals and subscriptions, restores it from a backup, and moves it into a database and back.
// What was counted stays counted.
func TestPaymentsOutliveRebuildRestoreAndMoves(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	lived(t, h)
	backup := backupOf(t, h)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	here, there := offline.Folder{Data: h.Data}, offline.Folder{
		Data: h.Data, Store: daemontest.Database(t),
	}
	restored := offline.Folder{Data: filepath.Join(t.TempDir(), "restored")}
	was, _ := contents(t, here)
	unchanged := func(what string, f offline.Folder) {
		t.Helper()
		is, _ := contents(t, f)
		if what == "restored" {
			is.Cursors = was.Cursors // the backup has those of its time
		}
		same(t, vault.Part{Records: was.Records}, vault.Part{Records: is.Records})
		for _, problem := range checked(t, f) {
			t.Errorf("%s: %s", what, problem)
		}
	}
	if _, err := here.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	unchanged("rebuilt", here)
	if _, err := restored.Restore(t.Context(), daemontest.Discard,
		offline.Backup{Content: bytes.NewReader(backup)}); err != nil {
		t.Fatal(err)
	}
	unchanged("restored", restored)
	move := func(from, to offline.Folder) {
		t.Helper()
		problem := func(p string) { t.Error(p) }
		file := filepath.Join(t.TempDir(), "export")
		if _, err := from.Export(t.Context(), file, problem); err != nil {
			t.Fatal(err)
		}
		if _, err := to.Import(t.Context(), file, daemontest.Discard, problem); err != nil {
			t.Fatal(err)
		}
	}
	move(here, there)
	unchanged("in a database", there)
	if _, err := there.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	unchanged("rebuilt in a database", there)

	h = startOn(t, h.Data, there.Store)
	gas, err := client.New(client.Config{
		Server: "https://" + h.Addr, TLS: h.Issue(t, "service:gas"),
	})
	if err != nil {
		t.Fatal(err)
	}
	mandate := was.Mandates[0].ID.String() // 10 of 30 are collected
	if a, err := gas.Collect(t.Context(), mandate, 20_01, 400, ""); err != nil ||
		a.Code != atm.MandateExceeded {
		t.Errorf("above what was left: %+v, %v", a, err)
	}
	daemontest.Must(t)(gas.Collect(t.Context(), mandate, 20_00, 400, ""))
	paid := fmt.Sprint(was.Reversals[0].Of) // 3 of 8 are reversed
	if a, err := h.As(t, "demo").Reverse(t.Context(), paid, 5_01, ""); err != nil ||
		a.Code != atm.ReversalExceeded {
		t.Errorf("above what was left: %+v, %v", a, err)
	}
	daemontest.Must(t)(h.As(t, "demo").Reverse(t.Context(), paid, 0, ""))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	was, _ = contents(t, there)
	move(there, here)
	unchanged("back in a file", here)
}

// TestEveryCodeOfPaymentsIsAnsweredAndRecorded gets each code that only payments have over the
// wire, and finds it in the audit log.
func TestEveryCodeOfPaymentsIsAnsweredAndRecorded(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	m := newMarket(t, h)
	demo, alice, gas := m.demo[0], m.alice[0], m.gas[0]
	paid := index(daemontest.Must(t)(demo.Transfer(t.Context(), 100, 200, 1_00, "paid")))
	terms := client.MandateTerms{Creditor: "service:gas", Each: 1_00}
	mandate := daemontest.Must(t)(demo.CreateMandate(t.Context(), 100, terms, "m1")).Text()
	revoked := daemontest.Must(t)(demo.CreateMandate(t.Context(), 100, terms, "m2")).Text()
	daemontest.Must(t)(demo.RevokeMandate(t.Context(), revoked))
	want := make(map[atm.Code]int)
	for _, tt := range []struct {
		want atm.Code
		call func() (*client.Answer, error)
	}{
		{atm.EntryNotFound, func() (*client.Answer, error) {
			return alice.Reverse(t.Context(), "999999", 0, "")
		}},
		{atm.NotReversible, func() (*client.Answer, error) {
			return demo.Reverse(t.Context(), paid, 0, "")
		}},
		{atm.ReversalExceeded, func() (*client.Answer, error) {
			return alice.Reverse(t.Context(), paid, 1_01, "")
		}},
		{atm.MandateNotFound, func() (*client.Answer, error) {
			return alice.Collect(t.Context(), mandate, 1, 200, "")
		}},
		{atm.MandateExceeded, func() (*client.Answer, error) {
			return gas.Collect(t.Context(), mandate, 1_01, 300, "")
		}},
		{atm.MandateEnded, func() (*client.Answer, error) {
			return gas.Collect(t.Context(), revoked, 1, 300, "")
		}},
		{atm.OrderNotFound, func() (*client.Answer, error) {
			return demo.CancelOrder(t.Context(), "o999999")
		}},
	} {
		a, err := tt.call()
		if err != nil || a.Code != tt.want || a.Reason == "" || a.Receipt == "" {
			t.Errorf("want %s: %+v, %v", tt.want, a, err)
		}
		want[tt.want]++
	}
	got := make(map[atm.Code]int)
	for _, e := range h.Entries(t) {
		if e.Status != nil && want[e.Status.Code] > 0 {
			got[e.Status.Code]++
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the log has %v, not %v", got, want)
	}
}
