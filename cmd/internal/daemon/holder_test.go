//go:build unix

package daemon_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/vault"
)

// TestNamesOfHoldersAreNeverInTheLog gives accounts names in every way there is, and in some
// that are refused, and looks for them in every byte that is published.
func TestNamesOfHoldersAreNeverInTheLog(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	must := daemontest.Must(t)
	operator, demo := h.As(t, "operator"), h.As(t, "demo")
	names := []string{
		`Zoë "Zo" Ångström \ Sons`, "Quentin Quux", "Imogen Imports", "Carla Checked",
		"Denise Denied", "Fiona Falsefield", "Walter\aWrong", "Larry Long " + strings.Repeat("x", 140),
	}
	opened := must(operator.Call(t.Context(), "admin.account.open", "200", "user:demo", "50",
		names[0]))
	must(operator.Call(t.Context(), "admin.account.open", "300", "user:demo", "", names[1]))
	must(operator.Call(t.Context(), "admin.account.set", "300", "", names[0]))
	must(operator.Call(t.Context(), "admin.account.set", "300", "", names[1]))
	must(operator.Call(t.Context(), "admin.account.import", "400,user:demo,"+names[2]+",1.00\n",
		"apply"))
	must(operator.Call(t.Context(), "admin.account.import", "401,user:demo,"+names[3]+",\n"))
	must(operator.Call(t.Context(), "admin.account.freeze", "300"))
	must(operator.Call(t.Context(), "admin.account.list"))
	for _, refused := range []struct {
		by   *client.Client
		op   string
		args []any
	}{
		{demo, "admin.account.open", []any{"500", "user:demo", "", names[4]}},
		{demo, "admin.account.set", []any{"200", "", names[4]}},
		{demo, "admin.account.import", []any{"500,user:demo," + names[4] + ",\n", "apply"}},
		{operator, "admin.account.import", []any{names[5] + ",user:demo,500,\n"}},
		{operator, "admin.account.import", []any{"500,user:demo,\"" + names[5] + ",\n"}},
		{operator, "admin.account.open", []any{"500", "user:demo", "", names[6]}},
		{operator, "admin.account.open", []any{"500", "user:demo", "", names[7]}},
		{operator, "admin.account.open", []any{"500", "user:demo", "", map[string]any{
			"name": names[5],
		}}},
	} {
		if a, err := refused.by.Call(t.Context(), refused.op, refused.args...); err == nil &&
			a.OK() {
			t.Errorf("%s %q: %+v", refused.op, refused.args, a)
		}
	}
	for account, name := range map[string]string{
		"200": names[0], "300": names[1], "400": names[2],
	} {
		shown := must(operator.Call(t.Context(), "admin.account.show", account))
		if got := shown.Result.(map[string]any)["name"]; got != name {
			t.Errorf("the operator sees %q as the holder of account %s, not %q", got, account, name)
		}
		certificate := must(demo.Call(t.Context(), "certificate", account)).Text()
		if !strings.Contains(certificate, "holder: "+name+"\n") {
			t.Errorf("the owner of account %s sees %s", account, certificate)
		}
	}
	entries := h.Entries(t) // which stops the server
	searchPublished(t, filepath.Join(h.Data, "audit"), names)
	if log := h.Log.String(); strings.Contains(log, "Quux") {
		t.Errorf("the log for the operator has a name:\n%s", log)
	}

	// The hash of an answer is that of one without the name: names cannot be tried against it.
	i := slices.IndexFunc(entries, func(e *audit.Entry) bool {
		return e.Operation == atm.AccountOpen && e.Args[0].Value == "200"
	})
	record := recordOf(opened.Result.(map[string]any))
	if with := audit.ResultText(record); entries[i].Status.Result == with {
		t.Error("the entry has the hash of an answer with the name")
	}
	for j := range record {
		if record[j].Name == "name" {
			record[j].Value = ""
		}
	}
	if want := audit.ResultText(record); entries[i].Status.Result != want {
		t.Errorf("the entry has the result %v, want %s", entries[i].Status.Result, want)
	}
}

// recordOf is an answer as it was before it went over the wire.
func recordOf(members map[string]any) (r atm.Record) {
	for name, value := range members {
		switch v := value.(type) {
		case map[string]any:
			value = recordOf(v)
		case nil:
			value = ""
		}
		r = append(r, atm.Field{Name: name, Value: value})
	}
	return r
}

// searchPublished looks for texts in the files of a folder, in each form that a program may
// write them in.
func searchPublished(t *testing.T, folder string, texts []string) {
	t.Helper()
	forms := make(map[string]string)
	for _, text := range texts {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		word := text // some of it, for what is shortened
		if i := strings.IndexAny(text, " \a"); i > 0 {
			word = text[i+1:]
		}
		for _, form := range []string{
			text, word, string(quoted[1 : len(quoted)-1]), url.QueryEscape(text),
			url.PathEscape(text), hex.EncodeToString([]byte(word)),
		} {
			forms[form] = text
		}
		for skip := range 3 { // wherever the text begins in what is encoded
			encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", skip) + text))
			inside := encoded[(skip*8+5)/6 : len(encoded)-2]
			forms[inside] = text
			forms[strings.NewReplacer("+", "-", "/", "_").Replace(inside)] = text
		}
	}
	files := 0
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		for form, text := range forms {
			if strings.Contains(string(content), form) {
				t.Errorf("%s has %q, which is %q", path, form, text)
			}
		}
		return err
	})
	if err != nil || files < 3 {
		t.Errorf("%d files: %v", files, err)
	}
}

// TestChangedNameOfAHolderIsNamedAndRebuiltFromItsHash changes names in the vault with its key.
func TestChangedNameOfAHolderIsNamedAndRebuiltFromItsHash(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	must, operator := daemontest.Must(t), h.As(t, "operator")
	must(operator.Call(t.Context(), "admin.account.open", "200", "user:demo", "", "Alice Smith"))
	must(operator.Call(t.Context(), "admin.account.open", "300", "user:demo", "", "Bob Jones"))
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	folder := h.Folder()
	check := func(want string) {
		t.Helper()
		var problems []string
		_, err := folder.Check(t.Context(), func(p string) { problems = append(problems, p) })
		all := strings.Join(problems, "; ")
		if want == "" && (err != nil || all != "") || want != "" &&
			(!errors.Is(err, offline.ErrProblems) || len(problems) != 1 ||
				!strings.Contains(all, want)) {
			t.Errorf("the check says %v: %s", err, all)
		}
		if strings.Contains(all, "Mallory") || strings.Contains(all, "Alice") {
			t.Errorf("the check tells a name: %s", all)
		}
	}
	check("")
	change(t, folder, func(a []vault.Account, holds []vault.Hold) ([]vault.Account, []vault.Hold) {
		for i := range a {
			if a[i].Name == "200" {
				a[i].Holder = "Mallory"
			}
		}
		return a, holds
	})
	check("account 200 is not what the journal says")
	done, err := folder.Rebuild(t.Context())
	if err != nil || done.Wrong != 1 || !slices.Equal(done.Unnamed, []vault.Name{"200"}) {
		t.Fatalf("%+v, %v", done, err)
	}
	check("account 200 is not what the journal says") // its name is not there
	again := daemontest.StartIn(t, h.Data, nil)
	operator = again.As(t, "operator")
	for account, want := range map[string]any{"200": nil, "300": "Bob Jones"} {
		shown := must(operator.Call(t.Context(), "admin.account.show", account))
		if got := shown.Result.(map[string]any)["name"]; got != want {
			t.Errorf("the holder of account %s is %v, want %v", account, got, want)
		}
	}
	must(operator.Call(t.Context(), "admin.account.set", "200", "", "Alice Smith"))
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	check("")
}
