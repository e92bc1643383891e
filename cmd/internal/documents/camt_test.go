//go:build unix

package documents_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/documents"
	"example.com/atm/internal/needs"
)

// root is the folder of the repository.
const root = "../../.."

// schema returns the schema of camt.053.001.08, which ISO 20022 publishes and which is not part of
// the repository: the file that ATM_CAMT_SCHEMA names, or the one in a folder beside it.
func schema(t *testing.T) string {
	t.Helper()
	path := cmp.Or(os.Getenv("ATM_CAMT_SCHEMA"),
		root+"/../shared/testdata/camt.053.001.08.xsd")
	if _, err := os.Stat(path); err != nil {
		// Also where nothing else is skipped: ISO publishes the schema, and nothing installs it.
		t.Skip("the schema camt.053.001.08.xsd is missing; name it in ATM_CAMT_SCHEMA")
	}
	return path
}

// saved saves a statement in the form camt.053 in a folder of the test.
func (b *bank) saved(name string, text []byte) string {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), name+".xml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func TestCamtIsValidByThePublicSchema(t *testing.T) {
	t.Parallel()
	xmllint := needs.Program(t, "xmllint")
	xsd := schema(t)
	b := newBank(t)
	b.busy()
	all, _ := b.fetch(200, "", "", documents.Camt)
	empty, _ := b.fetch(200, "2001-01-01T00:00:00+05:45", "2001-01-02T00:00:00Z", documents.Camt)
	for name, text := range map[string][]byte{"all": all, "empty": empty} {
		path := b.saved(name, text)
		out, err := exec.Command(xmllint, "--nonet", "--noout", "--schema", xsd,
			path).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	// The schema is looked at: an element that is not in it is an error.
	wrong := bytes.Replace(all, []byte("<Ntry>"), []byte("<Ntry><Wrong/>"), 1)
	if exec.Command(xmllint, "--noout", "--schema", xsd, b.saved("wrong", wrong)).Run() == nil {
		t.Error("xmllint takes anything")
	}
}

// TestCamtIsReadByAnotherLibrary reads a statement with iso20022.js, as examples/node does, and
// compares what it prints with the statement as JSON.
func TestCamtIsReadByAnotherLibrary(t *testing.T) {
	t.Parallel()
	node := needs.Program(t, "node")
	if _, err := os.Stat(root + "/examples/node/node_modules/iso20022.js"); err != nil {
		needs.Skip(t, "iso20022.js is not installed")
	}
	b := newBank(t)
	b.busy()
	file, _ := b.fetch(200, "", "", documents.Camt)
	out, err := exec.Command(node, root+"/examples/node/statement.mjs",
		b.saved("statement", file)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, _ = b.fetch(200, "", "", documents.JSON)
	var want struct {
		Opening, Closing string
		Movements        []struct {
			Amount, Operation, Counterparty, Memo string
			Index                                 json.Number
		}
	}
	if err := json.Unmarshal(file, &want); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != 3+len(want.Movements) || lines[0] != "account 200 at "+b.Name ||
		lines[1] != "opening "+want.Opening || lines[len(lines)-1] != "closing "+want.Closing {
		t.Fatalf("%s", out)
	}
	for i, m := range want.Movements {
		words := strings.SplitN(lines[2+i], " ", 3)
		rest := m.Amount + " " + m.Operation
		if m.Counterparty == "100" {
			rest += " " + m.Counterparty
		}
		// The library takes white space away, and reads "+1" as a number.
		memo := strings.TrimSpace(m.Memo)
		if strings.ContainsAny(memo, "abcdefghijklmnopqrstuvwxyz") {
			rest += " " + memo
		}
		if words[0] != m.Index.String() || !strings.HasPrefix(words[2], rest) {
			t.Errorf("%q, and the statement says %s", lines[2+i], rest)
		}
	}
}
