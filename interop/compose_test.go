package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/atm/internal/needs"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// composeProject reads deploy/compose.yaml as Docker Compose does: unknown keys are errors.
func composeProject(t *testing.T) *types.Project {
	t.Helper()
	deploy, err := filepath.Abs("../deploy")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  deploy,
		ConfigFiles: types.ToConfigFiles([]string{filepath.Join(deploy, "compose.yaml")}),
		Environment: types.Mapping{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// flagsOf are the long flags that a page of the reference has.
func flagsOf(t *testing.T, page string) (flags []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs/reference", page))
	if err != nil {
		t.Fatal(err)
	}
	flag := regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`)
	for _, found := range flag.FindAllSubmatch(text, -1) {
		flags = append(flags, string(found[1]))
	}
	if len(flags) < 10 {
		t.Fatalf("%s has %d flags", page, len(flags))
	}
	return flags
}

// TestComposeFileNamesRealFlagsAndFiles holds deploy/compose.yaml against the programs and the
// files that it names.
func TestComposeFileNamesRealFlagsAndFiles(t *testing.T) {
	project := composeProject(t)
	server, ctl := flagsOf(t, "atmserver.md"), flagsOf(t, "atmctl.md")
	balancer, err := os.ReadFile("../deploy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range project.Services {
		for name := range s.Environment {
			flag, is := strings.CutPrefix(name, "ATM_")
			flag = strings.ReplaceAll(strings.ToLower(flag), "_", "-")
			switch {
			case !is:
			case s.Name == "balancer":
				if !strings.Contains(string(balancer), "presetenv "+name+" ") {
					t.Errorf("haproxy.cfg has no %s", name)
				}
			case !slices.Contains(server, flag):
				t.Errorf("%s: %s is no flag of atmserver", s.Name, name)
			}
		}
		for _, arg := range s.Command {
			flag, is := strings.CutPrefix(arg, "--")
			if is && strings.HasPrefix(s.Image, "localhost/atm:") && !slices.Contains(ctl, flag) {
				t.Errorf("%s: %s is no flag of atmctl", s.Name, arg)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
					t.Errorf("%s: %s is not there, or may be written: %v", s.Name, v.Source, err)
				}
			}
		}
	}
	for _, file := range []string{"compose/prometheus.yml", "prometheus/alerts.yml"} {
		text, err := os.ReadFile(filepath.Join("../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`"(\w+):9002"`).FindAllSubmatch(text, -1) {
			set := project.Services[string(found[1])].Environment["ATM_METRICS_LISTEN"]
			if set == nil || *set != ":9002" {
				t.Errorf("%s: nothing serves metrics at %s", file, found[0])
			}
		}
	}
}

// TestComposedServicesAreConfined checks what each container may do, and that no secret is in a
// variable.
func TestComposedServicesAreConfined(t *testing.T) {
	project := composeProject(t)
	pinned := regexp.MustCompile(`^[\w./-]+:v?\d+\.\d+[\w.-]*$`)
	for _, s := range project.Services {
		uid, err := strconv.Atoi(strings.Split(s.User, ":")[0])
		if err != nil || uid == 0 && s.Name != "passwords" {
			t.Errorf("%s runs as %q", s.Name, s.User)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.Privileged ||
			!slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not confined", s.Name)
		}
		if len(s.CapAdd) > 0 && (s.Name != "passwords" || len(s.Ports) > 0) {
			t.Errorf("%s has %v", s.Name, s.CapAdd)
		}
		if !pinned.MatchString(s.Image) {
			t.Errorf("%s runs %s, which is another one tomorrow", s.Name, s.Image)
		}
		for name, value := range s.Environment {
			if value == nil || strings.Contains(name, "PASSWORD") && !strings.HasSuffix(name, "_FILE") {
				t.Errorf("%s: %s is a secret, or comes from the caller's variables", s.Name, name)
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s listens on %q of the machine unless it is told otherwise", s.Name,
					port.HostIP)
			}
		}
	}
	for _, name := range []string{"atm1", "atm2", "atm3"} {
		s := project.Services[name]
		if s.HealthCheck == nil ||
			!slices.Equal(s.HealthCheck.Test, []string{"CMD", "/usr/bin/atmctl", "ready"}) {
			t.Errorf("%s is probed by %v", name, s.HealthCheck)
		}
	}
	if !project.Networks["books"].Internal || len(project.Services["db"].Networks) != 1 {
		t.Error("the database, which is spoken to in the clear, can be reached from elsewhere")
	}
}

// TestPrometheusReadsTheConfigurationOfTheComposeFile has promtool check the configuration and
// the rules, at the places where the compose file mounts them.
func TestPrometheusReadsTheConfigurationOfTheComposeFile(t *testing.T) {
	promtool, dir := needs.Program(t, "promtool"), t.TempDir()
	for _, v := range composeProject(t).Services["prometheus"].Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		text, err := os.ReadFile(v.Source)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "/etc/prometheus/", dir+"/"))
		copied := filepath.Join(dir, filepath.Base(v.Target))
		if err := os.WriteFile(copied, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(promtool, "check", "config",
		filepath.Join(dir, "prometheus.yml")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "rules found") {
		t.Errorf("%v: %s", err, out)
	}
}
