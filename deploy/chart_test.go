//go:build containers

package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/internal/needs"
)

// kubernetes is the module whose description of the API the chart is held against.
const kubernetes = "k8s.io/kubernetes@v1.37.2"

// TestChartIsWhatKubernetesReads lints the chart, compares what it makes with
// deploy/kubernetes.yaml, and has kubeconform check that, and the chart with everything switched,
// against the description of the API: unknown fields are errors.
func TestChartIsWhatKubernetesReads(t *testing.T) {
	helm, kubeconform := filepath.Join("..", ".tools", "helm"), filepath.Join("..", ".tools", "kubeconform")
	run(t, ".", helm, "lint", "--strict", "chart")
	made := render(t, helm)
	committed, err := os.ReadFile("kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if made != string(committed) {
		if os.Getenv("ATM_UPDATE") == "" {
			t.Error("deploy/kubernetes.yaml is not what the chart makes: ATM_UPDATE=1 writes it")
		} else if err := os.WriteFile("kubernetes.yaml", []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	schemas := apiSchemas(t)
	everything := render(t, helm, "--set", "serviceMonitor.enabled=true,replicas=5,empty=false",
		"--set", "storage.className=fast,service.type=LoadBalancer,hosts={atm.example.com}",
		"--set", "imagePullSecrets[0].name=pull,tolerations[0].key=bank,nodeSelector.bank=yes",
		"--set", "networkPolicy.database[0].ipBlock.cidr=10.0.0.0/8,extraArgs={--console=on}",
		"--set", "networkPolicy.callers[0].podSelector.matchLabels.role=teller",
		"--set", "service.annotations.a=b,image.tag=1.2.3,publicURL=https://atm.example.com")
	for _, tt := range []struct {
		name, text string
		good       bool
	}{
		{"its own values", made, true},
		{"everything", everything, true},
		{"an unknown field", strings.Replace(made, "readOnlyRootFilesystem", "readOnlyRoot", 1), false},
		{"a text for a number", strings.Replace(made, "replicas: 3", "replicas: three", 1), false},
	} {
		cmd := exec.Command(kubeconform, "-strict", "-summary", "-skip", "ServiceMonitor",
			"-schema-location", schemas+"/{{ .ResourceKind }}.json", "-")
		cmd.Stdin = strings.NewReader(tt.text)
		out, err := cmd.CombinedOutput()
		if (err == nil) != tt.good {
			t.Errorf("%s: %v: %s", tt.name, err, out)
		}
	}
}

// render returns what the chart makes.
func render(t *testing.T, helm string, args ...string) string {
	t.Helper()
	cmd := exec.Command(helm, append([]string{
		"template", "atm", "chart", "--namespace", "atm", "--kube-version", "1.37.2",
	}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// apiSchemas writes a schema for each kind that the chart has, out of the description of the
// API that the sources of Kubernetes have, and returns their folder.
func apiSchemas(t *testing.T) (folder string) {
	t.Helper()
	var module struct{ Dir string }
	download := exec.Command(needs.Program(t, "go"), "mod", "download", "-json", kubernetes)
	download.Dir = t.TempDir()
	out, err := download.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "api", "openapi-spec", "swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	var api struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(text, &api); err != nil {
		t.Fatal(err)
	}
	for name, definition := range api.Definitions {
		_, has := definition["properties"]
		if _, more := definition["additionalProperties"]; has && !more {
			definition["additionalProperties"] = false
		}
		// OpenAPI 2 has no word for these two.
		if strings.HasSuffix(name, ".IntOrString") || strings.HasSuffix(name, ".Quantity") {
			api.Definitions[name] = map[string]any{"type": []string{"string", "integer", "number"}}
		}
	}
	folder = t.TempDir()
	for kind, name := range map[string]string{
		"statefulset": "apps.v1.StatefulSet", "service": "core.v1.Service",
		"serviceaccount": "core.v1.ServiceAccount", "networkpolicy": "networking.v1.NetworkPolicy",
		"poddisruptionbudget": "policy.v1.PodDisruptionBudget",
	} {
		schema, err := json.Marshal(map[string]any{
			"$schema": "http://json-schema.org/draft-07/schema#",
			"$ref":    "#/definitions/io.k8s.api." + name, "definitions": api.Definitions,
		})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(folder, fmt.Sprintf("%s.json", kind))
		if err := os.WriteFile(file, schema, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
