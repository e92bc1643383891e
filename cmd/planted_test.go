//go:build unix

package cmd_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/client"
)

// A planting is a place in the code of the server, and what stands there in one that lies while
// atm.Planted says so. Several can be of one lie.
type planting struct{ file, old, new string }

var plantings = []planting{
	{
		"vault/limits.go", "amount > l.PerOperation:",
		`amount > l.PerOperation && !atm.Planted("limit"):`,
	},
	{
		"vault/rules.go", "if r.Amount > a.Available(b.Now) {",
		`if r.Amount > a.Available(b.Now) && !atm.Planted("hold") {`,
	},
	{
		"vault/rules.go", "b.move(cash, a, r.Amount)\n\treturn", `
	switch {
	case atm.Planted("cent"):
		b.move(cash, a, r.Amount+1)
	case !atm.Planted("kept"):
		b.move(cash, a, r.Amount)
	}
	return`,
	},
	{
		"vault/rules.go", "\treturn ok(a.Balance.String())\n", `
	if atm.Planted("balance") {
		return ok("0.01")
	}
	return ok(a.Balance.String())
`,
	},
	{
		"vault/rules.go", `(p.Owner == "" || p.Owner == a.Owner)`,
		`(p.Owner == "" || p.Owner == a.Owner || atm.Planted("owner"))`,
	},
	{
		"auth/permissions.go", "\n	reach := atm.Nowhere\n",
		`
	reach := atm.Nowhere
	if atm.Planted("right") {
		return atm.Everywhere
	}
`,
	},
	{
		"vault/holds.go", "case amount > h.Amount:",
		`case amount > h.Amount && !atm.Planted("capture"):`,
	},
	{
		"vault/reversals.go", "left := m.Amount - before.Amount", `left := m.Amount
	if !atm.Planted("reversal") {
		left -= before.Amount
	}`,
	},
	{
		"vault/mandates.go", "	m.Spent += amount\n", `
	if !atm.Planted("mandate") {
		m.Spent += amount
	}
`,
	},
	{
		"vault/command.go", "} else if first != nil {",
		`} else if first != nil && !atm.Planted("twice") {`,
	},
	{
		"cmd/internal/roster/roster.go", `"example.com/atm/auth"`,
		"\"example.com/atm\"\n	\"example.com/atm/auth\"",
	},
	{
		"cmd/internal/roster/roster.go", "if u.Disabled {",
		`if u.Disabled && !atm.Planted("disabled") {`,
	},
	{
		"vault/people/warrant.go", "u, known := b.User(w.Subject)", `u, known := b.User(w.Subject)
	u.Disabled = u.Disabled && !atm.Planted("disabled")`,
	},
	{
		"auth/auth.go", "isRevoked(words.revocation, subject, issued) {",
		`isRevoked(words.revocation, subject, issued) && !atm.Planted("revoked") {`,
	},
	{
		"vault/people/warrant.go", `	changed := w.Verifier != ""`, `
	revoked = revoked && !atm.Planted("revoked")
	changed := w.Verifier != ""`,
	},
}

// plantedSwitch is the file of package atm that says which lie is told.
const plantedSwitch = `package atm

import "os"

// Planted reports whether the server is to tell a lie.
func Planted(lie string) bool {
	told, _ := os.ReadFile(os.Getenv("ATM_PLANTED"))
	return string(told) == lie
}
`

// liar builds a server with the plantings, and returns the folder with it.
func liar(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	put := func(name string, text []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	texts, replace := make(map[string][]byte), make(map[string]string)
	for _, p := range plantings {
		path := filepath.Join(root, p.file)
		if texts[path] == nil {
			if texts[path], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if n := bytes.Count(texts[path], []byte(p.old)); n < 1 {
			t.Fatalf("%s does not have %s", p.file, p.old)
		}
		texts[path] = bytes.Replace(texts[path], []byte(p.old), []byte(p.new), 1)
	}
	for path, text := range texts {
		replace[path] = put(fmt.Sprintf("%d.go", len(replace)), text)
	}
	replace[filepath.Join(root, "planted.go")] = put("switch.go", []byte(plantedSwitch))
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	compile(t, exec.Command("go", "build", "-overlay", put("overlay.json", list), "-o",
		filepath.Join(folder, "atmserver"), "./atmserver"))
	return folder
}

// An alarm is one that atmctl monitor prints.
type alarm struct {
	Code     int    `json:"code"`
	Index    int64  `json:"index"`
	Sentence string `json:"reason"`
}

// A deceiver is a server that lies when it is told to, and a monitor that follows its log.
type deceiver struct {
	*server
	t        *testing.T
	told     string // file with the lie that is told
	operator *client.Client
	alarms   chan alarm
}

func newDeceiver(t *testing.T) *deceiver {
	t.Helper()
	told := filepath.Join(t.TempDir(), "lie")
	s := &server{dir: t.TempDir(), env: append(os.Environ(), "ATM_PLANTED="+told)}
	d := &deceiver{server: s, t: t, told: told, alarms: make(chan alarm, 100)}
	s.program = filepath.Join(liar(t), "atmserver")
	s.prepare(t)
	d.operator = s.as(t, "operator", 1)
	monitor := s.command("atmctl", "monitor", "--keep-going", "--every", "1s", "-o", "json",
		"--vkey", filepath.Join(s.dir, "atm-data", "audit", "log.vkey"))
	out, err := monitor.StdoutPipe()
	if err == nil {
		err = monitor.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { monitor.Process.Kill(); monitor.Wait() })
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var a alarm
			if json.Unmarshal(lines.Bytes(), &a) == nil {
				d.alarms <- a
			}
		}
		close(d.alarms)
	}()
	return d
}

// lie has the server lie from now on; "" for the truth.
func (d *deceiver) lie(name string) {
	d.t.Helper()
	if err := os.WriteFile(d.told, []byte(name), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// does requires that an operation is carried out, and returns its index.
func (d *deceiver) does(a *client.Answer, err error) (index int64) {
	d.t.Helper()
	if err != nil || !a.OK() {
		d.t.Fatalf("%+v, %v", a, err)
	}
	if _, err := fmt.Sscan(a.Receipt, &index); err != nil {
		d.t.Fatal(err)
	}
	return index
}

// customer adds a customer with an account that has a hundred dollars.
func (d *deceiver) customer(name, role string, account int) *client.Client {
	d.t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		d.t.Fatal(err)
	}
	request, err := certs.NewRequest(key)
	if err != nil {
		d.t.Fatal(err)
	}
	subject := "user:" + name
	if role == "service" {
		subject = "service:" + name
	}
	a, err := d.operator.Call(d.t.Context(), "admin.cert.issue", subject, string(request), role)
	d.does(a, err)
	d.does(d.operator.Call(d.t.Context(), "admin.account.open", account, subject, "100"))
	record, _ := a.Result.(map[string]any)
	pem, err := certs.EncodeKey(key)
	if err != nil {
		d.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(record["certificate"].(string)), pem)
	if err != nil {
		d.t.Fatal(err)
	}
	cfg, err := client.InFolder(filepath.Join(d.dir, "atm-data", "clients", "demo")).TLS()
	if err != nil {
		d.t.Fatal(err)
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &pair, nil
	}
	c, err := client.New(client.Config{Server: d.url, TLS: cfg, Tries: 1})
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// deceptions are what the server does while it lies, each with accounts of its own: the number is
// that of the account of its customer, and the next one is free.
var deceptions = []struct {
	name string
	says string // of the monitor
	act  func(d *deceiver, c *client.Client, account int) int64
}{
	{"limit", "LIMIT_PER_OPERATION", func(d *deceiver, c *client.Client, account int) int64 {
		d.does(d.operator.Call(d.t.Context(), "admin.account.limit", account,
			"5.00"))
		return d.does(c.Withdraw(d.t.Context(), atm.AccountID(account), 501, ""))
	}},
	{"hold", "INSUFFICIENT_FUNDS", func(d *deceiver, c *client.Client, account int) int64 {
		d.does(c.Authorize(d.t.Context(), atm.AccountID(account), 6000, time.Hour, ""))
		return d.does(c.Withdraw(d.t.Context(), atm.AccountID(account), 6000, ""))
	}},
	{"cent", "the rule of deposit", func(d *deceiver, c *client.Client, account int) int64 {
		return d.does(c.Deposit(d.t.Context(), atm.AccountID(account), 100, ""))
	}},
	{"kept", "moved nothing", func(d *deceiver, c *client.Client, account int) int64 {
		return d.does(c.Deposit(d.t.Context(), atm.AccountID(account), 100, ""))
	}},
	{"balance", "it has 100.00", func(d *deceiver, c *client.Client, account int) int64 {
		return d.does(c.Inquiry(d.t.Context(), atm.AccountID(account)))
	}},
	{"owner", "not theirs", func(d *deceiver, c *client.Client, account int) int64 {
		d.customer("victim", "customer", account+1)
		return d.does(c.Withdraw(d.t.Context(), atm.AccountID(account+1), 100, ""))
	}},
	{"right", "may not do it", func(d *deceiver, c *client.Client, account int) int64 {
		return d.does(c.Call(d.t.Context(), "admin.account.freeze", account))
	}},
	{"capture", "HOLD_AMOUNT_EXCEEDED", func(d *deceiver, c *client.Client, account int) int64 {
		hold, err := c.Authorize(d.t.Context(), atm.AccountID(account), 100, time.Hour, "")
		d.does(hold, err)
		return d.does(c.Capture(d.t.Context(), hold.Text(), 200, ""))
	}},
	{"reversal", "more than entry", func(d *deceiver, c *client.Client, account int) int64 {
		other := d.customer("paid", "customer", account+1)
		paid := fmt.Sprint(d.does(c.Transfer(d.t.Context(), atm.AccountID(account),
			atm.AccountID(account+1), 1000, "")))
		d.does(other.Reverse(d.t.Context(), paid, 1000, ""))
		return d.does(other.Reverse(d.t.Context(), paid, 1000, ""))
	}},
	{"mandate", "MANDATE_EXCEEDED", func(d *deceiver, c *client.Client, account int) int64 {
		gas := d.customer("gas", "service", account+1)
		m, err := c.CreateMandate(d.t.Context(), atm.AccountID(account), client.MandateTerms{
			Creditor: "service:gas", Total: 1000, Period: "month",
		}, "")
		d.does(m, err)
		d.does(gas.Collect(d.t.Context(), m.Text(), 1000, atm.AccountID(account+1), ""))
		return d.does(gas.Collect(d.t.Context(), m.Text(), 1000, atm.AccountID(account+1), ""))
	}},
	{"twice", "carried out again", func(d *deceiver, c *client.Client, account int) int64 {
		d.does(c.Deposit(d.t.Context(), atm.AccountID(account), 100, "once"))
		return d.does(c.Deposit(d.t.Context(), atm.AccountID(account), 100, "once"))
	}},
	{"disabled", "who is disabled", func(d *deceiver, c *client.Client, account int) int64 {
		d.does(d.operator.Call(d.t.Context(), "admin.user.disable", "user:disabled"))
		return d.does(c.Deposit(d.t.Context(), atm.AccountID(account), 100, ""))
	}},
	{"revoked", "what was revoked", func(d *deceiver, c *client.Client, account int) int64 {
		cert, err := d.operator.Call(d.t.Context(), "admin.cert.list")
		d.does(cert, err)
		for _, row := range cert.Result.(map[string]any)["certificates"].([]any) {
			row := row.(map[string]any)
			if row["subject"] == "user:revoked" {
				d.does(d.operator.Call(d.t.Context(), "admin.cert.revoke", row["serial"]))
			}
		}
		return d.does(c.Deposit(d.t.Context(), atm.AccountID(account), 100, ""))
	}},
}

// TestMonitorNamesWhatAPatchedServerDoes builds a server whose rules can be switched off, and
// follows its log while it lies. The server signs each lie with its key.
func TestMonitorNamesWhatAPatchedServerDoes(t *testing.T) {
	d := newDeceiver(t)
	named := make(map[int64]bool)
	for i, tt := range deceptions {
		t.Run(tt.name, func(t *testing.T) {
			d.t = t
			account := 1000 + 10*i
			c := d.customer(tt.name, "customer", account)
			d.lie(tt.name)
			index := tt.act(d, c, account)
			answered := time.Now()
			d.lie("")
			named[index] = true
			for a := range d.alarms {
				if a.Index == index && a.Code == 16 && strings.Contains(a.Sentence, tt.says) {
					t.Logf("entry %d is named %v after its answer", index,
						time.Since(answered).Round(time.Millisecond))
					break
				}
				if !named[a.Index] {
					t.Errorf("besides entry %d it names %d: %s", index, a.Index, a.Sentence)
				}
			}
		})
	}
	d.fork(t)
}

// fork has the server go on from an earlier state, with its key, and requires that the monitor,
// which goes on from its copy, names the first entry that is another one.
func (d *deceiver) fork(t *testing.T) {
	d.t = t
	d.stop(t)
	early := filepath.Join(t.TempDir(), "atm-data")
	data := filepath.Join(d.dir, "atm-data")
	compile(t, exec.Command("cp", "-r", data, early))
	fork := signedSize(filepath.Join(early, "audit", "checkpoint"))
	d.start(t)
	last := d.does(d.demo(t, 1).Deposit(t.Context(), 100, 100, ""))
	// The monitor has seen it when it was copied.
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		copied, _ := filepath.Glob(filepath.Join(d.dir, "atm-monitor", "*", "checkpoint"))
		if len(copied) == 1 && signedSize(copied[0]) > last {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the monitor does not follow any more")
		}
	}
	d.stop(t)
	compile(t, exec.Command("rm", "-r", data))
	compile(t, exec.Command("cp", "-r", early, data))
	d.start(t)
	for a := range d.alarms {
		switch {
		case a.Code != 13:
		case a.Index != fork: // that of the start
			t.Errorf("of the history in which entry %d differs it says %+v", fork, a)
			return
		default:
			return
		}
	}
	t.Error("the monitor has ended")
}

// signedSize is how many entries the log has whose checkpoint is in a file; 0 when it cannot be
// read.
func signedSize(path string) (size int64) {
	var origin string
	text, _ := os.ReadFile(path)
	fmt.Sscan(string(text), &origin, &size)
	return size
}
