package interop

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A manifest is what the tests look at of an object of Kubernetes.
type manifest struct {
	Kind string
	Spec struct {
		Replicas            int
		PodManagementPolicy string `yaml:"podManagementPolicy"`
		Template            struct{ Spec pod }
	}
}

type pod struct {
	SecurityContext struct {
		RunAsNonRoot        bool   `yaml:"runAsNonRoot"`
		RunAsUser           int    `yaml:"runAsUser"`
		FSGroup             int    `yaml:"fsGroup"`
		FSGroupChangePolicy string `yaml:"fsGroupChangePolicy"`
	} `yaml:"securityContext"`
	Containers []struct {
		Args            []string
		StartupProbe    probe `yaml:"startupProbe"`
		LivenessProbe   probe `yaml:"livenessProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		SecurityContext struct {
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
	}
}

type probe struct {
	Exec    struct{ Command []string }
	HTTPGet struct{ Path, Scheme string } `yaml:"httpGet"`
}

// TestKubernetesManifestNamesRealFlags reads deploy/kubernetes.yaml, which is what the chart
// makes with its own values: make chart-test compares the two.
func TestKubernetesManifestNamesRealFlags(t *testing.T) {
	objects := make(map[string]manifest)
	file, err := os.Open("../deploy/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for in := yaml.NewDecoder(file); ; {
		var m manifest
		if err := in.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		objects[m.Kind] = m
	}
	for _, kind := range []string{"NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"} {
		if _, is := objects[kind]; !is {
			t.Errorf("there is no %s", kind)
		}
	}
	set := objects["StatefulSet"].Spec
	pod := set.Template.Spec
	if set.Replicas != 3 || set.PodManagementPolicy != "OrderedReady" || len(pod.Containers) != 1 {
		t.Fatalf("it is %+v", set)
	}
	if as := pod.SecurityContext; !as.RunAsNonRoot || as.RunAsUser != 65532 ||
		as.FSGroup != 65532 || as.FSGroupChangePolicy != "OnRootMismatch" {
		t.Errorf("it runs as %+v", as)
	}
	c := pod.Containers[0]
	if as := c.SecurityContext; !as.ReadOnlyRootFilesystem || as.AllowPrivilegeEscalation == nil ||
		*as.AllowPrivilegeEscalation || !slices.Equal(as.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("it is confined as %+v", as)
	}
	server, ctl := flagsOf(t, "atmserver.md"), flagsOf(t, "atmctl.md")
	checkFlags(t, server, c.Args)
	for _, probe := range []probe{c.StartupProbe, c.LivenessProbe} {
		if args := probe.Exec.Command; len(args) < 2 ||
			!slices.Equal(args[:2], []string{"/usr/bin/atmctl", "ready"}) {
			t.Errorf("it is probed by %q", args)
		} else {
			checkFlags(t, ctl, args[2:])
		}
	}
	if get := c.ReadinessProbe.HTTPGet; get.Path != "/readyz" || get.Scheme != "HTTPS" {
		t.Errorf("it is ready by %+v", get)
	}
}

// checkFlags checks that each argument is one of the flags.
func checkFlags(t *testing.T, flags, args []string) {
	t.Helper()
	for _, arg := range args {
		flag, _, _ := strings.Cut(arg, "=")
		if !slices.Contains(flags, strings.TrimPrefix(flag, "--")) {
			t.Errorf("there is no flag %s", arg)
		}
	}
}
