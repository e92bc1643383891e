//go:build unix

package cmd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/needs"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
)

// A sound vault is an undamaged vault and its accounts.
type sound struct {
	folder     string // with everything beside the vault
	vault, log []byte
	accounts   map[vault.Name]vault.Account
}

// TestDamagedVaultsAreRefused damages vaults in many ways and runs every command that reads a
// vault on each. Each command ends with a right answer, or with one sentence and exit code 1.
// None crashes or hangs, and none uses a balance that differs from the acknowledged one.
func TestDamagedVaultsAreRefused(t *testing.T) {
	needs.Unraced(t)
	bases := soundVaults(t)
	n := soak(24, 1000)
	var next, refused, good atomic.Int64
	var mu sync.Mutex
	ends := make(map[string]int)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !t.Failed() {
				seed := next.Add(1) - 1
				if seed >= int64(n) {
					return
				}
				r := rand.New(rand.NewPCG(uint64(seed), 21))
				d := damages[int(seed)%len(damages)]
				base := bases[r.IntN(len(bases))]
				damaged, log := d.do(r, bytes.Clone(base.vault), bytes.Clone(base.log))
				c := &damagedCase{
					t: t, name: fmt.Sprintf("%d, %s", seed, d.name), base: base,
					vault: damaged, log: log,
				}
				c.all()
				refused.Add(int64(c.refused))
				good.Add(int64(c.good))
				mu.Lock()
				for k, v := range c.ends {
					ends[k] += v
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d damaged vaults: %d commands refused, %d were right", n, refused.Load(), good.Load())
	for _, k := range slices.Sorted(maps.Keys(ends)) {
		t.Logf("%s: %d", k, ends[k])
	}
}

// soundVaults returns a vault of a clean stop, and one of a crash.
func soundVaults(t *testing.T) []sound {
	s := startServer(t)
	for i := range 80 {
		if out, err := s.command("atmctl", "account", "open", fmt.Sprint(1000+i), "--owner",
			"user:demo").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	c := s.demo(t, 1)
	moved := 0
	move := func(n int) {
		for range n {
			moved++
			if a, err := c.Deposit(t.Context(), atm.AccountID(1000+moved%80), atm.Amount(moved),
				atm.RequestID(fmt.Sprint("d", moved))); err != nil || !a.OK() {
				t.Fatal(a, err)
			}
		}
	}
	move(400)
	s.stop(t)
	data := filepath.Join(s.dir, "atm-data")
	closed := takeVault(t, data)
	s.start(t)
	move(150)
	time.Sleep(2 * time.Second) // until it is in the vault and in the log
	move(50)
	eventually(t, "everything is published", func() bool {
		return metric(t, s, "atm_audit_published_entries") == metric(t, s, "atm_audit_entries")
	})
	s.kill(t)
	return []sound{closed, takeVault(t, data)}
}

func takeVault(t *testing.T, data string) sound {
	b := sound{folder: filepath.Join(t.TempDir(), "sound")}
	copyTree(t, data, b.folder)
	b.vault, _ = os.ReadFile(filepath.Join(b.folder, "vault.db"))
	b.vault = b.vault[:pageSize*pages(b.vault)] // the rest is free
	b.log, _ = os.ReadFile(filepath.Join(b.folder, "vault.db-wal"))
	os.Remove(filepath.Join(b.folder, "vault.db"))
	os.Remove(filepath.Join(b.folder, "vault.db-wal"))
	copied := filepath.Join(t.TempDir(), "copied")
	b.lay(t, copied, b.vault, b.log)
	b.accounts = accountsIn(t, copied, filepath.Join(copied, "vault.db"))
	return b
}

// lay creates a data folder with a vault in it.
func (b *sound) lay(t testing.TB, folder string, vault, log []byte) {
	copyTree(t, b.folder, folder)
	err := os.WriteFile(filepath.Join(folder, "vault.db"), vault, 0o600)
	if len(log) > 0 {
		err = errors.Join(err, os.WriteFile(filepath.Join(folder, "vault.db-wal"), log, 0o600))
	}
	if err != nil {
		t.Error(err)
	}
}

func copyTree(t testing.TB, from, to string) {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Error(err)
	}
	filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		if err == nil && (strings.HasSuffix(path, ".key") || strings.Contains(path, ".db")) {
			return os.Chmod(path, 0o600)
		}
		return err
	})
}

// accountsIn reads the accounts of a vault with the key of a data folder.
func accountsIn(t testing.TB, data, file string) map[vault.Name]vault.Account {
	dir := datadir.At(data)
	key, err := dir.ReadVaultKey(nil)
	if err != nil {
		t.Error(err)
		return nil
	}
	store, err := boltstore.OpenChecked(file, key.Secret)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer store.Close()
	derived, err := store.All(context.Background())
	if err != nil {
		t.Error(err)
	}
	accounts := make(map[vault.Name]vault.Account)
	for _, a := range derived.Accounts {
		accounts[a.Name] = a
	}
	return accounts
}

// A damagedCase is a damaged vault and the results of the commands.
type damagedCase struct {
	t          *testing.T
	name       string
	base       sound
	vault, log []byte

	refused, good int
	ends          map[string]int
}

// endsWithin is much longer than any command takes, so a command that takes longer hangs.
const endsWithin = 60 * time.Second

func (c *damagedCase) all() {
	c.ends = make(map[string]int)
	for _, use := range []func(folder string){
		c.fsck, c.compact, c.rebuild, c.export, c.importFile, c.start,
	} {
		folder, err := os.MkdirTemp("", "atm-damaged-")
		if err != nil {
			c.t.Error(err)
			return
		}
		use(filepath.Join(folder, "atm-data"))
		os.RemoveAll(folder)
	}
}

// run runs a command to its end, and reports whether its exit code was 0.
func (c *damagedCase) run(what string, cmd *exec.Cmd) bool {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return false
	}
	hung := time.AfterFunc(endsWithin, func() { cmd.Process.Signal(syscall.SIGQUIT) })
	cmd.Wait()
	if !hung.Stop() {
		c.t.Errorf("%s: %s hung:\n%s", c.name, what, out.Bytes())
	}
	return c.ended(what, cmd.ProcessState.ExitCode(), out.String())
}

// ended checks how a program ended.
func (c *damagedCase) ended(what string, code int, out string) bool {
	crashed := false
	for _, trace := range []string{
		"panic", "fatal error", "goroutine ", "SIG",
		"unexpected fault",
	} {
		crashed = crashed || strings.Contains(out, trace)
	}
	said := 0
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "atmctl: ") || strings.HasPrefix(line, "atmserver: ") {
			said++
		}
	}
	c.ends[fmt.Sprintf("%s exit %d", what, code)]++
	switch {
	case crashed || code != 0 && code != 1:
		c.t.Errorf("%s: %s ended with %d:\n%s", c.name, what, code, out)
	case code == 1 && said != 1:
		c.t.Errorf("%s: %s says %d sentences:\n%s", c.name, what, said, out)
	case code == 1:
		c.refused++
	default:
		c.good++
		return true
	}
	return false
}

func (c *damagedCase) ctl(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(bin, "atmctl"), args...)
}

// same compares the accounts of a vault that a command accepted with those before the damage.
func (c *damagedCase) same(what, data, file string) {
	have := accountsIn(c.t, data, file)
	for name, want := range c.base.accounts {
		if !want.Equal(have[name]) {
			c.t.Errorf("%s: after %s account %s is %+v, not %+v", c.name, what, name,
				have[name], want)
		}
	}
	if len(have) != len(c.base.accounts) {
		c.t.Errorf("%s: after %s there are %d accounts, not %d", c.name, what, len(have),
			len(c.base.accounts))
	}
}

func (c *damagedCase) fsck(data string) {
	c.base.lay(c.t, data, c.vault, c.log)
	if c.run("fsck", c.ctl("fsck", "--data", data)) {
		c.same("fsck", data, filepath.Join(data, "vault.db"))
	}
}

func (c *damagedCase) compact(data string) {
	c.base.lay(c.t, data, c.vault, c.log)
	if c.run("compact", c.ctl("compact", "--data", data)) {
		c.same("compact", data, filepath.Join(data, "vault.db"))
	}
}

func (c *damagedCase) rebuild(data string) {
	c.base.lay(c.t, data, c.vault, c.log)
	if c.run("rebuild", c.ctl("rebuild", "--data", data)) {
		c.same("rebuild", data, filepath.Join(data, "vault.db"))
	}
}

func (c *damagedCase) export(data string) {
	c.base.lay(c.t, data, c.vault, c.log)
	file := data + ".exported"
	if c.run("export", c.ctl("export", file, "--data", data)) {
		c.same("export", data, file)
	}
}

func (c *damagedCase) importFile(data string) {
	file := data + ".file"
	c.base.lay(c.t, data, nil, nil)
	os.Remove(filepath.Join(data, "vault.db"))
	config, err := os.OpenFile(filepath.Join(data, "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		c.t.Error(err)
		return
	}
	fmt.Fprintln(config, `store = "postgres"`) // as if it had been moved there
	config.Close()
	if err := os.WriteFile(file, c.vault, 0o400); err != nil {
		c.t.Error(err)
	}
	if len(c.log) > 0 {
		if err := os.WriteFile(file+"-wal", c.log, 0o400); err != nil {
			c.t.Error(err)
		}
	}
	if c.run("import", c.ctl("import", file, "--data", data, "--store", "bolt:")) {
		c.same("import", data, filepath.Join(data, "vault.db"))
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, c.vault) {
		c.t.Errorf("%s: import changed the file: %v", c.name, err)
	}
}

// start starts a server. If it starts, it answers balances, takes a backup and rotates its
// keys.
func (c *damagedCase) start(data string) {
	c.base.lay(c.t, data, c.vault, c.log)
	listen, errListen := needs.Port()
	admin, errAdmin := needs.Port()
	if err := errors.Join(errListen, errAdmin); err != nil {
		c.t.Error(err)
		return
	}
	cmd := exec.Command(filepath.Join(bin, "atmserver"), "--data", data, "--listen",
		"localhost:"+listen, "--admin-listen", "localhost:"+admin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	if waitReady("http://localhost:"+admin+"/readyz", ended) == nil {
		c.ask(data, "https://localhost:"+listen)
		cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-ended:
	case <-time.After(endsWithin):
		cmd.Process.Signal(syscall.SIGQUIT)
		<-ended
		c.t.Errorf("%s: the server hung:\n%s", c.name, out.Bytes())
	}
	c.ended("start", cmd.ProcessState.ExitCode(), out.String())
}

func (c *damagedCase) ask(data, url string) {
	tls, err := client.InFolder(filepath.Join(data, "clients", "demo")).TLS()
	if err != nil {
		c.t.Error(err)
		return
	}
	demo, err := client.New(client.Config{Server: url, TLS: tls, Tries: 1})
	if err != nil {
		c.t.Error(err)
		return
	}
	told := 0
	for i := range 81 {
		id := atm.AccountID(999 + i)
		if i == 0 {
			id = 100
		}
		a, err := demo.Inquiry(c.t.Context(), id)
		if err != nil || !a.OK() {
			continue // the command reported it
		}
		told++
		if want := c.base.accounts[vault.Numbered(id)].Balance; a.Text() != want.String() {
			c.t.Errorf("%s: the server says that account %d has %s, not %s", c.name, id,
				a.Text(), want)
		}
	}
	c.ends[fmt.Sprintf("balances told %t", told == 81)]++
	want := c.base.accounts["100"].Balance + 1
	if a, err := demo.Deposit(c.t.Context(), 100, 1, "after the damage"); err == nil && a.OK() &&
		a.Text() != want.String() {
		c.t.Errorf("%s: after a deposit of a cent account 100 has %s, not %s", c.name,
			a.Text(), want)
	}
	operator := []string{"--server", url}
	files := client.InFolder(filepath.Join(data, "clients", "operator"))
	operator = append(operator, "--ca", files.CA, "--cert", files.Cert, "--key", files.Key)
	for _, args := range [][]string{{"backup", data + ".tar"}, {"vault", "rotate"}} {
		cmd := c.ctl(append(args, operator...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		hung := time.AfterFunc(endsWithin, func() { cmd.Process.Signal(syscall.SIGQUIT) })
		err := cmd.Run()
		code := cmd.ProcessState.ExitCode()
		c.ends[fmt.Sprintf("%s exit %d", args[0], code)]++
		if !hung.Stop() || code < 0 || code == 2 || strings.Contains(out.String(), "goroutine ") {
			c.t.Errorf("%s: %s: %v\n%s", c.name, args[0], err, out.Bytes())
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
