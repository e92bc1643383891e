// Package deploy_test tries what puts the server on a machine, as far as that goes
// without one: make deploy-test has the rest.
package deploy_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/atm/internal/needs"
)

func run(t testing.TB, dir string, name string, args ...string) string {
	t.Helper()
	if !strings.Contains(name, "/") {
		name = needs.Program(t, name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestScriptsPassShellcheck(t *testing.T) {
	scripts := []string{"systemd/atm-backup"}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" ||
			d.Name() == ".tools") {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".sh") {
			scripts = append(scripts, path)
		}
		return err
	})
	if err != nil || len(scripts) < 5 {
		t.Fatal(scripts, err)
	}
	run(t, ".", "shellcheck", scripts...)
}

func TestManualsPassMandocLint(t *testing.T) {
	pages, err := filepath.Glob("../docs/reference/*.1")
	if err != nil || len(pages) != 3 {
		t.Fatal(pages, err)
	}
	run(t, ".", "mandoc", append([]string{"-T", "lint", "-W", "warning"}, pages...)...)
}

// TestUnitsAreValidAndWellConfined asks systemd-analyze: every directive is known, and the
// exposure of each service is below a threshold.
func TestUnitsAreValidAndWellConfined(t *testing.T) {
	dir := t.TempDir()
	verify := []string{"verify", "--man=no", "--recursive-errors=no"}
	there := regexp.MustCompile(`/usr/(bin/atmserver|bin/atmctl|lib/atm/atm-backup)\b`)
	for _, unit := range units(t) {
		if strings.HasSuffix(unit, ".service") {
			run(t, ".", "systemd-analyze", "security", "--offline=true", "--no-pager",
				"--threshold=15", "systemd/"+unit)
		}
		text, err := os.ReadFile(filepath.Join("systemd", unit))
		if err != nil {
			t.Fatal(err)
		}
		text = there.ReplaceAll(text, []byte("/bin/true")) // which is there
		if err := os.WriteFile(filepath.Join(dir, unit), text, 0o644); err != nil {
			t.Fatal(err)
		}
		verify = append(verify, "./"+unit)
	}
	if out := run(t, dir, "systemd-analyze", verify...); strings.Contains(out, "atm") {
		t.Error(out)
	}
}

// TestServiceMayConnectToReceivers reads the sandbox of the server: the event feed connects to
// others, and resolves names.
func TestServiceMayConnectToReceivers(t *testing.T) {
	unit, err := os.ReadFile("systemd/atmserver.service")
	if err != nil {
		t.Fatal(err)
	}
	settings := make(map[string]string)
	for line := range strings.Lines(string(unit)) {
		if name, value, is := strings.Cut(strings.TrimSpace(line), "="); is && name[0] != '#' {
			settings[name] = strings.TrimSpace(settings[name] + " " + value)
		}
	}
	families := strings.Fields(settings["RestrictAddressFamilies"])
	for _, family := range []string{"AF_INET", "AF_INET6", "AF_UNIX"} {
		if !slices.Contains(families, family) {
			t.Errorf("no %s in %v", family, families)
		}
	}
	for _, name := range []string{
		"IPAddressDeny", "PrivateNetwork", "NetworkNamespacePath", "SocketBindDeny",
		"RestrictNetworkInterfaces", "InaccessiblePaths", "RootDirectory", "RootImage",
		"TemporaryFileSystem",
	} {
		if value, is := settings[name]; is {
			t.Errorf("%s=%s: receivers, /etc/resolv.conf or /etc/ssl may be out of reach", name,
				value)
		}
	}
	if !strings.Contains(settings["SystemCallFilter"], "@system-service") {
		t.Errorf("SystemCallFilter=%s lets nobody connect", settings["SystemCallFilter"])
	}
}

// units are the names of all units.
func units(t *testing.T) (names []string) {
	t.Helper()
	for _, kind := range []string{"service", "socket", "timer"} {
		found, err := filepath.Glob("systemd/*." + kind)
		if err != nil || len(found) == 0 {
			t.Fatal(found, err)
		}
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

// TestAlertsFireWhenTheyShouldAndHaveRunbooks fires every alert, and none in a healthy
// installation.
func TestAlertsFireWhenTheyShouldAndHaveRunbooks(t *testing.T) {
	rules, err := os.ReadFile("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	operations, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules),
		-1) {
		if !regexp.MustCompile(`alertname: ` + alert[1] + `\n +exp_alerts`).Match(tests) {
			t.Errorf("%s fires in no test", alert[1])
		}
	}
	for _, page := range regexp.MustCompile(`runbook: docs/operations.md#([a-z-]+)`).FindAllStringSubmatch(string(rules), -1) {
		heading := "## " + strings.ReplaceAll(page[1], "-", " ") + "\n"
		if !strings.Contains(strings.ToLower(string(operations)), heading) {
			t.Errorf("docs/operations.md has no %q", page[1])
		}
	}
	run(t, "prometheus", "promtool", "test", "rules", "alerts_test.yml")
}

const version = "0.9.8765" // unlike that of a module

// sources returns a copy of the sources, with the programs of .tools.
func sources(t *testing.T) (folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "source")
	run(t, ".", "git", "clone", "-q", "..", folder)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, ".tools"),
		filepath.Join(folder, ".tools")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// release builds a release for this machine and some others out of a copy of the sources, and
// returns the folder with its files, and the public key of its signer.
func release(t *testing.T, desktops string) (dist, signer string) {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	run(t, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key)
	source := sources(t)
	cmd := exec.Command("deploy/packages/release.sh", version, key, "http://releases.invalid/atm")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "ARCHITECTURES=amd64", "DESKTOPS="+desktops)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(source, "dist"), strings.TrimSpace(string(public))
}

// TestReleaseIsReproducibleAndInstallable builds the release twice, in different folders, and
// compares the files. Then it reads the packages and archives, and has ami-run.sh install the
// release into a temporary root. Only with ATM_SOAK is there an archive for macOS: it is packed as
// those for Linux, make lint checks its programs, and compiling them takes longer than the test.
func TestReleaseIsReproducibleAndInstallable(t *testing.T) {
	if _, err := os.Stat("../.tools/nfpm"); err != nil {
		t.Fatal("make release-tools builds what makes packages")
	}
	desktops := "windows/amd64"
	if os.Getenv("ATM_SOAK") != "" {
		desktops += " darwin/arm64"
	}
	dist, signer := release(t, desktops)
	again, _ := release(t, "windows/amd64")
	names, err := os.ReadDir(again)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		// they name the signer
		if name.Name() == "SHA256SUMS" || name.Name() == "SHA256SUMS.sig" ||
			name.Name() == "ami-run.sh" {
			continue
		}
		one, err := os.ReadFile(filepath.Join(dist, name.Name()))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(again, name.Name()))
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s is another one when it is built again: %v", name.Name(), err)
		}
	}
	deb := run(t, dist, "dpkg-deb", "-c", "atm_"+version+"_amd64.deb")
	for _, file := range []string{
		"./usr/bin/atmserver", "./usr/bin/atmclient", "./usr/bin/atmctl",
		"./etc/atm/atmserver.toml", "./usr/lib/systemd/system/atmserver.socket",
		"./usr/share/doc/atm/README.md", "./usr/share/doc/atm/copyright",
		"./usr/share/doc/atm/examples/verify.py",
		"./usr/share/doc/atm/deploy/prometheus/alerts.yml", "./usr/share/man/man1/atmctl.1.gz",
		"./usr/share/bash-completion/completions/atmctl", "./etc/atm/timers.env",
		"./etc/atm/monitor.toml", "./usr/lib/systemd/system/atm-monitor.service",
		"./usr/lib/atm/atm-backup", "./usr/lib/systemd/system/atm-backup.timer",
	} {
		if !strings.Contains(deb, " "+file+"\n") {
			t.Errorf("the deb has no %s", file)
		}
	}
	t.Run("Desktops", func(t *testing.T) { testDesktops(t, dist, desktops) })
	t.Run("SignedSums", func(t *testing.T) { testSignedSums(t, dist, signer) })
	t.Run("UserData", func(t *testing.T) { testUserData(t, dist, signer) })
}

// metadata is the metadata service of EC2, version 2 alone unless v1.
func metadata(t *testing.T, v1 bool) string {
	t.Helper()
	tree := map[string]string{
		"local-hostname": "ip-10-77-0-2.ec2.internal",
		"local-ipv4":     "10.77.0.2", "public-ipv4": "203.0.113.7",
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const token = "a token"
		name, is := strings.CutPrefix(r.URL.Path, "/latest/meta-data/")
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && !v1 &&
			r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
			w.Write([]byte(token))
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case !v1 && r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
			w.WriteHeader(http.StatusUnauthorized)
		case !is || tree[name] == "":
			w.WriteHeader(http.StatusNotFound)
		default:
			w.Write([]byte(tree[name]))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func testUserData(t *testing.T, dist, signer string) {
	userData := func(t *testing.T, root string, env ...string) (string, error) {
		t.Helper()
		cmd := exec.Command("./ami-run.sh")
		cmd.Env = append(append(os.Environ(), "ATM_VERSION="+version, "ATM_RELEASES=file://"+dist,
			"ATM_SIGNER="+signer, "ATM_ROOT="+root), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	root := t.TempDir()
	good := "ATM_METADATA=" + metadata(t, false)
	for range 2 { // the second time nothing is new
		if out, err := userData(t, root, good); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if out := run(t, root, "usr/local/bin/atmserver", "--version"); !strings.Contains(out,
		version) {
		t.Error(out)
	}
	config, err := os.ReadFile(filepath.Join(root, "etc/atm/atmserver.toml"))
	if err != nil || !strings.Contains(string(config),
		`host = ["localhost", "127.0.0.1", "::1", "ip-10-77-0-2.ec2.internal", "10.77.0.2", "203.0.113.7"]`) {
		t.Errorf("%s %v", config, err)
	}
	unit, err := os.ReadFile(filepath.Join(root, "etc/systemd/system/atmserver.service"))
	if err != nil || !strings.Contains(string(unit), "ExecStart=/usr/local/bin/atmserver ") {
		t.Errorf("%s %v", unit, err)
	}
	run(t, root, "usr/local/bin/atmserver", "--config", "etc/atm/atmserver.toml", "--data",
		"data", "init")

	flipped := func(name string) string {
		copied := t.TempDir()
		run(t, ".", "cp", "-r", dist+"/.", copied)
		file := filepath.Join(copied, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return "ATM_RELEASES=file://" + copied
	}
	for _, tt := range []struct {
		name, says string
		env        []string
	}{
		{"no metadata service", "no token (IMDSv2)", []string{"ATM_METADATA=http://127.0.0.1:1"}},
		{"version 1 alone", "no token (IMDSv2)", []string{"ATM_METADATA=" + metadata(t, true)}},
		{
			"a byte of the tarball flipped", "is not the one that was signed",
			[]string{good, flipped("atm-" + version + "-linux-amd64.tar.gz")},
		},
		{"a byte of the sums flipped", "is not signed by", []string{good, flipped("SHA256SUMS")}},
		{
			"a byte of the signature flipped", "is not signed by",
			[]string{good, flipped("SHA256SUMS.sig")},
		},
		{
			"another version than is there", "the release has no",
			[]string{good, "ATM_VERSION=0.9.9"},
		},
		{"no release", "cannot fetch", []string{good, "ATM_RELEASES=file:///nowhere"}},
		{"not filled in", "is no version", []string{good, "ATM_VERSION=@VERSION@"}},
		{"signed by somebody else", "is not signed by", []string{good, "ATM_SIGNER=ssh-ed25519 " +
			"AAAAC3NzaC1lZDI1NTE5AAAAIJ7sqQ1Y0Zo3y0cM2G0cZ1f8T6b4cN2m9m3b8yq0Z8aD"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			out, err := userData(t, root, tt.env...)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			last := lines[len(lines)-1]
			if err == nil || !strings.Contains(last, tt.says) ||
				!strings.HasSuffix(last, "nothing was changed") {
				t.Errorf("%v: %s", err, out)
			}
			if names, err := os.ReadDir(root); err != nil || len(names) > 0 {
				t.Errorf("%v is there, %v", names, err)
			}
		})
	}
}
