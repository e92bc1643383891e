//go:build unix

package cmd_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/signed"
	"example.com/atm/internal/needs"
)

// document writes the OpenAPI document of a server to a file of its folder.
func (s *server) document(t *testing.T) (path string) {
	t.Helper()
	cfg, err := client.InFolder(filepath.Join(s.dir, "atm-data", "clients", "demo")).TLS()
	if err != nil {
		t.Fatal(err)
	}
	cfg = &tls.Config{RootCAs: cfg.RootCAs, ServerName: cfg.ServerName} // anybody may read it
	transport := &http.Transport{TLSClientConfig: cfg}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(s.url + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	path = filepath.Join(s.dir, "openapi.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// installed is a program of npm that is installed in clients/typescript.
func installed(t *testing.T, name string) string {
	t.Helper()
	needs.Program(t, "node")
	path, err := filepath.Abs("../clients/typescript/node_modules/.bin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		needs.Skip(t, "npm's "+name+" is not installed")
	}
	return path
}

// lint runs the linter of OpenAPI documents that the field uses, with the rules that it recommends.
func lint(t *testing.T, path string) (string, error) {
	t.Helper()
	cmd := exec.Command(installed(t, "redocly"), "lint", path)
	cmd.Dir = filepath.Dir(path)
	cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestDocumentOfTheMethodsHasNoErrors(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	path := s.document(t)
	if out, err := lint(t, path); err != nil || !strings.Contains(out, "is valid") {
		t.Errorf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(text), `"operationId":"deposit"`, `"operationId":"withdraw"`, 1)
	if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := lint(t, path); err == nil {
		t.Errorf("two operations of one name are valid:\n%s", out)
	}
}

// generated is the transcript of the first page, by a program that speaks through a generated
// client to a new server; and a refusal.
const generated = "1000.00\n2001.00\n1609.00\nINSUFFICIENT_FUNDS Insufficient Funds\n"

// speaks runs a program with the URL of the server and the folder of the credentials.
func (s *server) speaks(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, append(args, s.url,
		filepath.Join(s.dir, "atm-data", "clients", "demo"))...)
	cmd.Dir = dir
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stdout.String() != generated {
		t.Errorf("%v\n%s%s", err, stdout.String(), stderr.String())
	}
	s.stop(t)
	s.verify(t)
}

// in is a command in a folder.
func in(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	return cmd
}

func TestClientThatOapiCodegenMakesPassesTheTranscript(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/oapi")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "atmapi"), 0o700); err != nil {
		t.Fatal(err)
	}
	compile(t, in(dir, "go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "atmapi",
		"-o", "atmapi/api.go", s.document(t)))
	compile(t, in(dir, "go", "build", "-o", "speak", "."))
	s.speaks(t, dir, filepath.Join(dir, "speak"))
}

// buildTypeScript builds the package for TypeScript with the types of a server, in a folder.
func buildTypeScript(t *testing.T, s *server) (dir string) {
	t.Helper()
	modules := filepath.Dir(filepath.Dir(installed(t, "openapi-typescript")))
	dir = t.TempDir()
	for _, part := range []string{"src", "tests"} {
		source := os.DirFS(filepath.Join("../clients/typescript", part))
		if err := os.CopyFS(filepath.Join(dir, part), source); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"package.json", "tsconfig.json"} {
		text, err := os.ReadFile(filepath.Join("../clients/typescript", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	build := in(dir, needs.Program(t, "npm"), "run", "build")
	build.Env = append(os.Environ(), "ATM_OPENAPI="+s.document(t))
	compile(t, build)
	return dir
}

func TestTypeScriptClientOverGeneratedTypes(t *testing.T) {
	t.Parallel()
	first := startServer(t)
	dir := buildTypeScript(t, first)
	node := needs.Program(t, "node")
	t.Run("PassesTheTranscript", func(t *testing.T) {
		first.speaks(t, dir, node, "dist/tests/transcript.js", "unsigned")
		s := startServer(t)
		s.speaks(t, dir, node, "dist/tests/transcript.js", "signed")
		if n := s.signatures(t); n != 7 {
			t.Errorf("%d calls were signed", n)
		}
	})
	t.Run("MovesMoneyOnceWhenAnAnswerIsLost", func(t *testing.T) {
		losesNothing(t, startServer(t), dir, node, "dist/tests/lost.js")
	})
}

// signatures verifies what proves the signed requests of a server that was stopped, and counts
// their calls.
func (s *server) signatures(t *testing.T) (n int) {
	t.Helper()
	data := filepath.Join(s.dir, "atm-data")
	log, err := audit.OpenLogBeside(t.Context(), audit.Dir(filepath.Join(data, "audit")))
	if err != nil {
		t.Fatal(err)
	}
	err = log.Entries(t.Context(), 0, log.Size, func(i int64, leaf []byte, _ merkle.Hash) error {
		e, err := audit.ParseEntry(leaf)
		if err != nil || e.Caller == nil || e.Caller.Signature == "" {
			return err
		}
		n++
		proof, err := signed.Folder(filepath.Join(data, "signed")).Check(e)
		if err == nil && proof.Body == nil {
			t.Errorf("entry %d has no body", i)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return n
}

// TestImplementationOfOthersSignsWhatVerifies signs with a package of npm, and sends the signature
// with another body as well.
func TestImplementationOfOthersSignsWhatVerifies(t *testing.T) {
	t.Parallel()
	modules := filepath.Dir(filepath.Dir(installed(t, "tsc")))
	if _, err := os.Stat(filepath.Join(modules, "http-message-signatures")); err != nil {
		needs.Skip(t, "npm's http-message-signatures is not installed")
	}
	s := startServer(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/foreign")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	out, err := in(dir, needs.Program(t, "node"), "sign.mjs", s.url,
		filepath.Join(s.dir, "atm-data", "clients", "demo")).CombinedOutput()
	const want = "200 1012.50 \n401  The signature is refused: the sha-512 in Content-Digest is " +
		"not that of the body\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
	s.stop(t)
	if n := s.signatures(t); n != 1 {
		t.Errorf("%d calls were signed", n)
	}
}

func TestPythonClientPassesTheTranscript(t *testing.T) {
	t.Parallel()
	python := needs.Program(t, "python3")
	dir, err := filepath.Abs("../clients/python")
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t)
	s.speaks(t, dir, python, "-B", "-W", "error", "-c", "import runpy, sys\n"+
		"sys.path.insert(0, 'src')\nrunpy.run_path('tests/transcript.py')")
}
