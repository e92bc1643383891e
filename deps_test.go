package atm_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "example.com/atm"

// places says which of our own packages each place may import, tests apart. A
// folder stands for the packages below it too, and "*" for all. A package in
// no place fails the test: it has not found its place yet.
var places = map[string][]string{
	"":                     {},
	"xmlrpc":               {},
	"jsonapi":              {""},
	"auth":                 {"", "internal"},
	"auth/login":           {"auth", "auth/login/bounded", "internal"},
	"auth/login/bounded":   {"internal"},
	"auth/login/native":    {"auth/login/bounded", "internal"},
	"auth/login/logintest": {"auth", "certs", "internal"},
	"auth/signature":       {},
	"teller":               {"", "vault", "vault/holder", "vault/zone", "audit"},
	"teller/bookings": {
		"", "vault", "vault/calendar", "vault/holder", "vault/zone", "audit",
		"teller/methods",
	},
	"teller/methods":       {""},
	"teller/confirm":       {"", "audit", "vault"},
	"teller/events":        {"", "vault", "audit"},
	"teller/lookup":        {"", "vault", "audit"},
	"teller/reader":        {"", "vault", "audit", "teller/lookup"},
	"teller/sessions":      {"", "vault", "audit", "teller/methods"},
	"teller/subscriptions": {"", "vault", "teller/bookings", "teller/methods"},
	"teller/orders":        {"", "vault", "teller/bookings"},
	"teller/passwords":     {},
	"teller/words":         {"", "vault"},
	"teller/replay": {
		"", "teller", "vault", "vault/holder", "audit", "teller/bookings", "internal",
	},
	"vault":           {"", "audit"},
	"vault/check":     {"", "vault", "vault/chunk", "vault/history", "audit"},
	"vault/chunk":     {},
	"vault/codec":     {"", "vault", "vault/chunk"},
	"vault/history":   {"vault", "vault/chunk", "audit"},
	"vault/secrets":   {"vault/sealing"},
	"vault/record":    {},
	"vault/holder":    {},
	"vault/feeds":     {"", "vault/record"},
	"vault/ledger":    {"", "vault", "audit"},
	"vault/people":    {"", "vault/record"},
	"vault/requestid": {"", "audit"},
	"vault/sealing":   {},
	"vault/query":     {"", "vault", "audit"},
	"vault/zone":      {},
	"vault/calendar":  {"vault/zone"},
	"vault/boltstore": {
		"", "vault", "vault/check", "vault/chunk", "vault/codec", "vault/history", "audit",
		"vault/sealing", "internal",
	},
	"vault/boltstore/wal":   {"internal"},
	"vault/boltstore/guard": {"vault", "internal"},
	"vault/boltstore/cursors": {
		"vault", "vault/codec", "vault/boltstore/guard",
		"vault/boltstore/keyring",
	},
	"vault/boltstore/memtable": {
		"vault", "vault/chunk", "vault/codec",
		"vault/boltstore/keyring", "vault/boltstore/wal",
	},
	"vault/boltstore/journal": {
		"vault", "vault/chunk", "vault/codec",
		"vault/boltstore/memtable", "vault/boltstore/shelf", "internal",
	},
	"vault/boltstore/shelf": {
		"vault", "vault/codec", "vault/boltstore/keyring",
		"vault/boltstore/memtable",
	},
	"vault/boltstore/pages":   {"vault"},
	"vault/boltstore/keyring": {"vault/boltstore/pages", "vault/sealing"},
	"vault/boltstore/days":    {"vault", "vault/codec"},
	"vault/pgstore": {
		"", "vault", "vault/check", "vault/secrets", "vault/replicated", "audit",
	},
	"vault/dynstore": {
		"", "vault", "vault/check", "vault/chunk", "vault/codec", "vault/history", "vault/secrets",
		"vault/replicated", "audit",
	},
	"vault/dynstore/table":   {"vault", "internal"},
	"vault/dynstore/chain":   {"vault", "vault/replicated", "audit", "vault/dynstore/table"},
	"vault/dynstore/dyntest": {"internal"},
	"vault/replicated":       {"vault", "vault/secrets", "audit"},
	"vault/pgstore/database": {"vault"},
	"vault/pgstore/journal":  {"vault", "audit", "vault/pgstore/database"},
	"vault/pgstore/schema":   {"vault/pgstore/database", "vault/pgstore/shared", "vault/replicated"},
	"vault/pgstore/shared": {
		"vault/feeds", "vault/pgstore/database", "vault/secrets", "vault/replicated",
	},
	"vault/pgstore/pgtest":   {"internal"},
	"vault/vaulttest":        {"", "vault", "audit"},
	"vault/vaulttest/linear": {""},
	"vault/vaulttest/payments": {
		"", "vault", "audit", "vault/vaulttest", "vault/vaulttest/linear",
	},
	"vault/vaulttest/subscriptions": {"", "vault", "audit", "vault/vaulttest"},
	"vault/vaulttest/trimming":      {"", "vault", "audit", "vault/vaulttest"},
	"audit":                         {"", "internal"},
	"audit/merkle":                  {},
	"audit/canonical":               {},
	"audit/checkpoint":              {"audit/merkle"},
	"audit/policy":                  {"audit/checkpoint"},
	"audit/assertion":               {"", "audit"},
	"audit/certificate":             {"", "audit"},
	"audit/balances":                {"", "audit"},
	"audit/search":                  {"", "audit"},
	"audit/archive":                 {"audit", "internal"},
	"audit/remote":                  {"audit"},
	"audit/flood":                   {"", "audit"},
	"audit/publish":                 {"audit", "internal"},
	"audit/audittest":               {"", "audit"},
	"certs":                         {"", "internal"},
	"server": {
		"", "auth", "xmlrpc", "jsonapi", "console", "teller", "certs", "audit",
		"internal",
	},
	"console":                    {"", "teller", "audit", "audit/merkle", "internal"},
	"console/internal/draw":      {"audit/merkle"},
	"console/internal/facts":     {"", "console/internal/forms"},
	"console/internal/forms":     {""},
	"console/internal/intention": {"", "console/internal/forms", "teller"},
	"console/internal/passkey":   {"", "teller/sessions"},
	"console/internal/statement": {"", "console/internal/forms"},
	"console/internal/words":     {"", "audit", "console/internal/forms"},
	"client":                     {"", "auth/signature", "internal"},
	"feed":                       {"", "audit", "vault", "feed/webhook"},
	"feed/webhook":               {"internal"},
	"monitor":                    {"", "audit", "teller"},
	"cmd/internal/exit":          {"", "client", "internal"},
	"cmd/internal/settings":      {"cmd/internal/exit", "cmd/internal/ask", "internal"},
	"cmd/internal/ask":           {},
	"cmd/internal/when":          {""},
	"cmd/internal/signin": {
		"", "auth/login/native", "client", "cmd/internal/exit", "cmd/internal/settings",
		"cmd/internal/ask", "internal",
	},
	"cmd/internal/version":   {},
	"cmd/internal/reference": {},
	"cmd/internal/hsm":       {"internal"},
	"cmd/internal/datadir":   {"internal"},
	"cmd/internal/output":    {"cmd/internal/exit", "internal"},
	"cmd/internal/storage": {
		"vault", "vault/boltstore", "vault/boltstore/guard", "vault/pgstore", "vault/dynstore",
		"vault/replicated", "cmd/internal/settings",
		"cmd/internal/datadir", "internal",
	},
	"cmd/internal/backup":    {"cmd/internal/datadir"},
	"cmd/internal/published": {"audit", "cmd/internal/datadir"},
	"cmd/internal/retention": {"", "audit", "teller/events", "vault", "internal"},
	"cmd/internal/inbox":     {"internal"},
	"cmd/internal/signed":    {"", "audit", "auth/signature", "internal"},
	"cmd/internal/roster":    {"auth", "vault"},
	"cmd/internal/keys": {
		"", "audit", "auth", "certs", "teller", "vault", "vault/boltstore",
		"cmd/internal/datadir", "cmd/internal/hsm", "internal",
	},
	"cmd/internal/replica": {
		"audit", "auth", "vault", "vault/replicated", "cmd/internal/datadir", "cmd/internal/keys",
		"cmd/internal/roster", "cmd/internal/storage", "internal",
	},
	"cmd/internal/documents": {
		"", "audit", "client", "vault", "cmd/internal/exit", "internal",
	},
	"cmd/internal/browse":     {"client", "cmd/internal/exit"},
	"cmd/internal/mirror":     {"audit", "certs", "internal", "server"},
	"cmd/internal/ctl":        {"*"},
	"cmd/internal/daemon":     {"*"},
	"cmd/internal/offline":    {"*"},
	"cmd/internal/daemontest": {"*"},
	"cmd/attack":              {},
	"cmd/internal/doctor":     {"*"},
	"cmd/atmserver":           {"*"},
	"cmd/atmclient":           {"*"},
	"cmd/atmctl":              {"*"},
	"internal":                {},
	"internal/needs":          {},
	"internal/portable":       {},
	"bench":                   {},
	"examples":                {"", "client"},
	"examples/feed":           {"audit", "feed/webhook"},
	"deploy":                  {},
	"interop":                 {},
}

// outside says which places may import a package that is not for all. What is not
// listed may be imported by every place but the plain ones, which have the standard
// library and what is listed for them by name.
var outside = map[string][]string{
	"net/http": {
		"xmlrpc", "jsonapi", "console", "auth", "audit", "server", "client", "cmd",
		"bench", "examples", "feed",
	},
	"go.etcd.io/bbolt":              {"vault/boltstore", "bench"},
	"github.com/gofrs/flock":        {"vault/boltstore", "cmd"},
	"github.com/klauspost/compress": {"vault/chunk"},
	"golang.org/x/tools":            {"internal/portable"},
	"github.com/kolo/xmlrpc":        {"client", "examples"},
	"github.com/golang-jwt/jwt":     {"auth"},
	"github.com/coreos/go-oidc":     {"auth/login"},
	"github.com/dunglas/httpsfv":    {"auth/signature"},
	"golang.org/x/oauth2":           {"auth/login"},
	"github.com/go-webauthn":        {"console/internal/passkey", "audit/assertion"},
	"rsc.io/qr":                     {"cmd/internal/output"},
	"github.com/icholy/digest":      {"client"},
	"github.com/aws":                {"audit/archive/s3archive", "vault/dynstore/table"},
	"github.com/jackc/pgx":          {"vault/pgstore"},
	"github.com/pressly/goose":      {"vault/pgstore/schema"},
	"github.com/spf13":              {"cmd"},
	"github.com/BurntSushi/toml":    {"cmd"},
	"github.com/prometheus":         {"server"},
	"github.com/coreos/go-systemd":  {"cmd"},
	"golang.org/x/mod/sumdb":        {"audit", "cmd"},
	"filippo.io/mldsa":              {"audit/checkpoint"},
	"golang.org/x/sys/unix":         {"internal"},
	"golang.org/x/text":             {"xmlrpc", "teller", "cmd"},
	"testing": {
		"vault/vaulttest", "vault/pgstore/pgtest", "vault/dynstore/dyntest",
		"internal/needs", "cmd/internal/daemontest",
		"audit/audittest", "audit/assertion/assertiontest", "audit/archive/archivetest",
		"audit/archive/s3archive/s3test",
		"auth/login/logintest",
	},
	"pgregory.net/rapid":                      {"vault/vaulttest"},
	"github.com/google/go-cmp":                {"vault/vaulttest"},
	"github.com/anishathalye":                 {"vault/vaulttest/linear"},
	"example.com/atm/vault/pgstore":           {"cmd", "vault/pgstore"},
	"example.com/atm/vault/dynstore":          {"cmd", "vault/dynstore"},
	"example.com/atm/audit/publish":           {"audit/audittest", "cmd", "monitor"},
	"example.com/atm/audit/audittest":         {},
	"example.com/atm/audit/archive/s3archive": {"cmd", "audit/archive/s3archive"},
	"example.com/atm/cmd/atmserver":           {},
	"example.com/atm/cmd/atmclient":           {},
	"example.com/atm/cmd/atmctl":              {},
	"example.com/atm/cmd/internal":            {"cmd"},
	"example.com/atm/vault/boltstore":         {"cmd", "vault/boltstore"},
}

// plain are the places whose code must be easy to judge by itself.
var plain = []string{
	"", "internal", "vault/record", "vault/people", "vault/boltstore/wal",
	"vault/chunk", "vault/calendar",
}

// TestImportsFollowThePlan compares every import with the plan. It reads the files itself,
// because go test would cache the output of another command.
func TestImportsFollowThePlan(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || len(path) > 1 &&
			strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		seen++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		if folder == "." {
			folder = ""
		}
		place, known := placeOf(folder)
		if !known {
			t.Errorf("%s is in no folder of the table", path)
			return nil
		}
		for _, clause := range file.Imports {
			imported, err := strconv.Unquote(clause.Path.Value)
			if err != nil {
				return err
			}
			if !allowed(place, folder, imported) {
				t.Errorf("%s: place %q must not import %s", path, place, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Fatalf("saw only %d files: the test looks in the wrong place", seen)
	}
}

// placeOf finds the place that folder belongs to, the innermost one.
func placeOf(folder string) (string, bool) {
	for place := folder; ; place = place[:max(strings.LastIndexByte(place, '/'), 0)] {
		if _, known := places[place]; known {
			return place, place != "" || folder == ""
		}
		if place == "" {
			return "", false
		}
	}
}

func allowed(place, folder, imported string) bool {
	listed := false
	for pkg, who := range outside {
		if !within(imported, pkg) {
			continue
		}
		if !anyWithin(folder, who) || slices.Contains(plain, place) && !slices.Contains(who,
			place) {
			return false
		}
		listed = true
	}
	own, isOurs := strings.CutPrefix(imported+"/", module+"/")
	if own = strings.TrimSuffix(own, "/"); isOurs {
		if within(own, place) && place != "" {
			return true // a place may have places inside
		}
		for _, may := range places[place] {
			if may == "*" || may == own || may != "" && within(own, may) && !isStore(own) {
				return true
			}
		}
		return false
	}
	std := !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
	return std || listed || !slices.Contains(plain, place)
}

// isStore reports whether a package is inside the vault's place but not part
// of what "vault" stands for.
func isStore(own string) bool {
	parts := []string{
		"vault/calendar", "vault/check", "vault/feeds", "vault/ledger", "vault/people", "vault/query",
		"vault/record", "vault/requestid",
	}
	return strings.HasPrefix(own, "vault/") && !slices.Contains(parts, own)
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func anyWithin(folder string, places []string) bool {
	for _, place := range places {
		if within(folder, place) {
			return true
		}
	}
	return false
}

// TestForbiddenImportIsFound makes sure that TestImportsFollowThePlan can fail.
func TestForbiddenImportIsFound(t *testing.T) {
	for _, tt := range []struct {
		folder, imported string
		want             bool
	}{
		{"teller", "example.com/atm/vault", true},
		{"teller", "example.com/atm/auth", false},
		{"teller", "example.com/atm/vault/boltstore", false},
		{"teller", "net/http", false},
		{"vault", "example.com/atm/vault/boltstore", false},
		{"vault", "go.etcd.io/bbolt", false},
		{"vault/people", "example.com/atm/vault", false},
		{"vault/people", "example.com/atm/audit", false},
		{"vault/requestid", "example.com/atm/vault", false},
		{"vault", "example.com/atm/vault/people", true},
		{"teller", "example.com/atm/vault/people", true},
		{"vault/boltstore", "go.etcd.io/bbolt", true},
		{"vault/boltstore", "example.com/atm/vault/boltstore/wal", true},
		{"vault/boltstore/wal", "go.etcd.io/bbolt", false},
		{"vault/boltstore/wal", "example.com/atm/vault", false},
		{"vault/boltstore/wal", "example.com/atm/vault/sealing", false},
		{"vault/boltstore/wal", "github.com/klauspost/compress/s2", false},
		{"vault/boltstore/wal", "example.com/atm/internal/durable", true},
		{"vault/pgstore", "example.com/atm/vault/boltstore/wal", false},
		{"vault/chunk", "github.com/klauspost/compress/s2", true},
		{"vault/chunk", "example.com/atm/vault", false},
		{"vault/chunk", "go.etcd.io/bbolt", false},
		{"xmlrpc", "example.com/atm", false},
		{"jsonapi", "example.com/atm", true},
		{"jsonapi", "example.com/atm/xmlrpc", false},
		{"jsonapi", "example.com/atm/teller/methods", false},
		{"jsonapi", "example.com/atm/auth", false},
		{"audit/merkle", "example.com/atm/audit", false},
		{"audit", "example.com/atm/audit/publish", false},
		{"vault", "example.com/atm/audit/merkle", true},
		{"vault", "example.com/atm/audit/publish", false},
		{"teller", "example.com/atm/audit/publish", false},
		{"cmd/internal/daemon", "example.com/atm/audit/publish", true},
		{"auth", "example.com/atm/vault", false},
		{"client", "example.com/atm/server", false},
		{"feed", "example.com/atm/vault/feeds", true},
		{"feed", "example.com/atm/vault/boltstore", false},
		{"feed", "example.com/atm/teller", false},
		{"feed", "net/http", true},
		{"feed/webhook", "example.com/atm/vault/feeds", false},
		{"vault/feeds", "example.com/atm/vault", false},
		{"server", "example.com/atm/vault", false},
		{"cmd/atmctl", "example.com/atm/cmd/atmserver", false},
		{"cmd/atmctl", "example.com/atm/vault/boltstore", true},
		{"", "golang.org/x/crypto/argon2", false},
		{"internal/durable", "example.com/atm", false},
		{"internal/durable", "golang.org/x/sys/unix", true},
		{"internal/durable", "golang.org/x/crypto/argon2", false},
		{"vault", "golang.org/x/sys/unix", false},
	} {
		place, known := placeOf(tt.folder)
		if !known {
			t.Fatalf("no place for %q", tt.folder)
		}
		if got := allowed(place, tt.folder, tt.imported); got != tt.want {
			t.Errorf("%q may import %s: %v, want %v", tt.folder, tt.imported, got, tt.want)
		}
	}
	if _, known := placeOf("util"); known {
		t.Error("a folder outside the plan found a place")
	}
}
