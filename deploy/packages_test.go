package deploy_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit/policy"
	"example.com/atm/internal/needs"
)

// TestTimersAreOffAndRunTheirService reads what a package switches on: nothing.
func TestTimersAreOffAndRunTheirService(t *testing.T) {
	all := units(t)
	installation, err := os.ReadFile("packages/postinstall.sh")
	switches := regexp.MustCompile(`(?m)^systemctl .*\b(enable|start|restart) `)
	text := strings.ReplaceAll(string(installation), "try-restart ", "") // of what runs
	if err != nil || switches.MatchString(text) {
		t.Errorf("the installation switches something on: %v", err)
	}
	operations, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	removal, err := os.ReadFile("packages/preremove.sh")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile("packages/timers.env")
	if err != nil {
		t.Fatal(err)
	}
	timers := 0
	for _, unit := range all {
		name, is := strings.CutSuffix(unit, ".timer")
		if !is {
			continue
		}
		timers++
		service, err := os.ReadFile("systemd/" + name + ".service")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(service), "[Install]") {
			t.Errorf("%s.service can be switched on without its timer", name)
		}
		if !strings.Contains(string(operations), "`systemctl enable --now "+unit+"`") {
			t.Errorf("docs/operations.md does not say how %s is switched on", unit)
		}
		if !strings.Contains(string(removal), unit) {
			t.Errorf("%s stays on when the package is removed", unit)
		}
		for _, m := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(string(service),
			-1) {
			if !strings.Contains(string(settings), "\n"+m[1]+"=") {
				t.Errorf("%s.service uses %s, which timers.env does not set", name, m[1])
			}
		}
	}
	if timers != 4 {
		t.Errorf("there are %d timers", timers)
	}
}

// TestMonitorIsOffAndItsSettingsAreFlags reads the unit and the settings of the monitor.
func TestMonitorIsOffAndItsSettingsAreFlags(t *testing.T) {
	texts := make(map[string]string)
	for _, name := range []string{
		"systemd/atm-monitor.service", "packages/monitor.toml", "packages/preremove.sh",
		"../docs/operations.md", "../docs/reference/atmctl.md",
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	for _, m := range regexp.MustCompile(`(?m)^#?([a-z-]+) = `).FindAllStringSubmatch(
		texts["packages/monitor.toml"], -1) {
		if !strings.Contains(texts["../docs/reference/atmctl.md"], " --"+m[1]+" ") {
			t.Errorf("%s is no flag of atmctl monitor", m[1])
		}
	}
	unit := texts["systemd/atm-monitor.service"]
	for _, m := range regexp.MustCompile(`(?m)^[a-z]+ = "/run/credentials/atm-monitor.service/(.*)"`).
		FindAllStringSubmatch(texts["packages/monitor.toml"], -1) {
		if !strings.Contains(unit, "LoadCredential="+m[1]+":/etc/atm/monitor/"+m[1]+"\n") {
			t.Errorf("the unit does not load %s", m[1])
		}
	}
	const on = "systemctl enable --now atm-monitor.service"
	if !strings.Contains(texts["../docs/operations.md"], on) ||
		!strings.Contains(texts["packages/preremove.sh"], "disable --now atm-monitor.service") {
		t.Error("nothing says how the monitor is switched on, or nothing switches it off")
	}
}

// programs builds what the timers run, and starts a server. It returns the environment of
// commands that are to talk to it.
func programs(t *testing.T) (env []string) {
	t.Helper()
	bin, data := t.TempDir(), filepath.Join(t.TempDir(), "atm-data")
	run(t, "..", "go", "build", "-o", bin+"/", "./cmd/atmserver", "./cmd/atmctl")
	port, errPort := needs.Port()
	admin, errAdmin := needs.Port()
	if err := errors.Join(errPort, errAdmin); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(filepath.Join(bin, "atmserver"), "--data", data, "--listen",
		"localhost:"+port, "--admin-listen", "localhost:"+admin)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(os.Interrupt)
		server.Wait()
	})
	for end := time.Now().Add(time.Minute); ; { // it listens before it has made its folder
		resp, err := http.Get("http://localhost:" + admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("the server is not ready")
		}
		time.Sleep(50 * time.Millisecond)
	}
	operator := filepath.Join(data, "clients", "operator")
	return append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"),
		"ATM_SERVER=https://localhost:"+port,
		"ATM_CA="+operator+"/ca.crt", "ATM_CERT="+operator+"/client.crt", "ATM_KEY="+operator+
			"/client.key")
}

// TestBackupKeepsTheNewest takes backups of a server as the timer does.
func TestBackupKeepsTheNewest(t *testing.T) {
	env, folder := programs(t), t.TempDir()
	old := []string{
		"atm-20250101T000000Z.tar", "atm-20250102T000000Z.tar",
		"atm-20250103T000000Z.tar",
	}
	others := []string{"atm-notes.tar", "other.tar"}
	for _, name := range slices.Concat(old, others) {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	backup := func(env ...string) (string, error) {
		cmd := exec.Command("systemd/atm-backup")
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	have := func() (names []string) {
		list, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	before := have()
	for _, bad := range [][]string{
		append(slices.Clone(env), "BACKUP_DIR="+folder, "BACKUP_KEEP=0"),
		append(slices.Clone(env), "BACKUP_DIR="+folder, "BACKUP_KEEP=all"),
		append(slices.Clone(env), "BACKUP_DIR="+folder, "BACKUP_KEEP=1",
			"ATM_SERVER=https://localhost:1", "ATM_TIMEOUT=1s"),
	} {
		if out, err := backup(bad...); err == nil || !slices.Equal(have(), before) {
			t.Errorf("a backup that fails changed something: %v %s", have(), out)
		}
	}
	if out, err := backup(append(env, "BACKUP_DIR="+folder, "BACKUP_KEEP=2")...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	left := have()
	if len(left) != 4 || left[0] != old[2] || !strings.HasPrefix(left[1], "atm-20") ||
		!slices.Equal(left[2:], others) {
		t.Errorf("of those that were there and the new one are left %q", left)
	}
}

// TestBackupTakesIncrementsBetweenFullOnes takes backups as the timer does, with increments. Each
// chain that is kept is whole.
func TestBackupTakesIncrementsBetweenFullOnes(t *testing.T) {
	env, folder := programs(t), t.TempDir()
	env = append(env, "BACKUP_DIR="+folder, "BACKUP_KEEP=1", "BACKUP_INCREMENTS=2")
	have := func() (names []string) {
		list, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range list {
			names = append(names, filepath.Base(file)[len("atm-20261125T020000Z."):])
		}
		return names
	}
	program := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	for _, want := range [][]string{
		{"tar"}, {"01.tar", "tar"}, {"01.tar", "02.tar", "tar"},
	} {
		program("systemd/atm-backup")
		if left := have(); !slices.Equal(left, want) {
			t.Fatalf("%q are there, and not %q", left, want)
		}
	}
	full, err := filepath.Glob(filepath.Join(folder, "*Z.tar"))
	if err != nil || len(full) != 1 {
		t.Fatal(full, err)
	}
	chain := strings.TrimSuffix(full[0], ".tar")
	if out := program("sh", "-c", `atmctl backup verify "$@"`, "sh", full[0], chain+".01.tar",
		chain+".02.tar"); !strings.HasPrefix(out, "good: ") {
		t.Error(out)
	}

	// The next one is full, and the chain before it goes as a whole. So does a full one that
	// nothing can build on.
	for _, fresh := range []func(){
		func() {},
		func() {
			list, err := filepath.Glob(filepath.Join(folder, "*Z.tar"))
			if err != nil || len(list) != 1 {
				t.Fatal(list, err)
			}
			if err := os.WriteFile(list[0], nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		fresh()
		before := full[0]
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // another name
		program("systemd/atm-backup")
		if full, err = filepath.Glob(filepath.Join(folder, "*")); err != nil || len(full) != 1 ||
			full[0] == before {
			t.Fatalf("%q are left, %v", full, err)
		}
	}
}

// TestPackagedDocumentationHasNoBrokenLink follows every link of the pages that a package has.
func TestPackagedDocumentationHasNoBrokenLink(t *testing.T) {
	to := t.TempDir()
	run(t, ".", "packages/stage-doc.sh", to)
	for _, name := range []string{
		"README.md", "LICENSE", "copyright", "licenses/go/LICENSE",
		"licenses/go.etcd.io/bbolt/LICENSE",
		"docs/operations.md", "docs/adr/0001-packages.md", "docs/reference/atmctl.md",
		"examples/verify.py",
		"deploy/prometheus/alerts.yml", "deploy/grafana/atm.json", "deploy/lvs/keepalived.conf",
		"deploy/patroni/patroni.yml", "deploy/haproxy.cfg", "deploy/witness-policy.example",
	} {
		if _, err := os.Stat(filepath.Join(to, name)); err != nil {
			t.Error(err)
		}
	}
	followed, broken := 0, 0
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".md") {
			return err
		}
		page, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(withoutCode(string(page)), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			followed++
			if !leads(path, m[1]) {
				broken++
				t.Errorf("%s: %s leads nowhere", strings.TrimPrefix(path, to), m[1])
			}
		}
		return nil
	})
	if err != nil || followed < 60 {
		t.Errorf("%d links were followed: %v", followed, err)
	}
	t.Logf("%d links, %d broken", followed, broken)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
)

func withoutCode(page string) string { return fence.ReplaceAllString(page, "") }

// leads reports whether a link on a page leads to a file, and to a heading of it.
func leads(page, target string) bool {
	file, anchor, _ := strings.Cut(target, "#")
	to := page
	if file != "" {
		to = filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
	}
	info, err := os.Stat(to)
	if err != nil || anchor == "" || info.IsDir() {
		return err == nil && anchor == ""
	}
	text, err := os.ReadFile(to)
	return err == nil && slices.ContainsFunc(heading.FindAllStringSubmatch(string(text), -1),
		func(m []string) bool {
			slug := strings.Map(func(r rune) rune {
				switch {
				case r == ' ':
					return '-'
				case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' ||
					r > 0x7f:
					return r
				}
				return -1
			}, strings.ToLower(m[1]))
			return slug == anchor
		})
}

// TestWitnessPolicyExampleIsValidAndDocumented parses the example as a server does, and finds
// each line of it in the documentation.
func TestWitnessPolicyExampleIsValidAndDocumented(t *testing.T) {
	text, err := os.ReadFile("witness-policy.example")
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	asked := slices.DeleteFunc(slices.Clone(p.Witnesses), func(w policy.Witness) bool {
		return w.URL == ""
	})
	if len(p.Logs) != 1 || len(p.Witnesses) != 3 || len(asked) != 2 {
		t.Errorf("it says %+v", p)
	}
	if p.Satisfied([]string{"one"}) || !p.Satisfied([]string{"one", "three"}) {
		t.Error("it is not satisfied by two of three")
	}
	page, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line != "\n" && !strings.HasPrefix(line, "#") && !strings.Contains(string(page),
			"    "+line) {
			t.Errorf("docs/audit.md does not show %q", line)
		}
	}
}
