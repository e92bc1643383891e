//go:build unix

package attack_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A flaw is a plausible mistake in the code, and the attack that must detect it.
type flaw struct {
	name     string
	file     string // relative to the root of the module
	old, new string // a piece of file that occurs once, and its replacement
	attack   string // TestAttacksAreRefused/attack must fail; after package and colon, a test there
}

var flaws = []flaw{
	{"a nonce works again", "auth/digest/nonces.go", `		return ErrUsed
	}
	c.bits`, `		return nil
	}
	c.bits`, "digest/the_same_again"},
	{
		"a digest of another uri is good", "auth/digest/digest.go", `if p.uri != r.RequestURI {`,
		`if false {`, "digest/another_uri",
	},
	{
		"half of a response is compared", "auth/digest/digest.go",
		`[]byte(want), []byte(p.response)`,
		`[]byte(want)[32:], []byte(p.response)[32:]`, "digest/a_response_with_one_bit_changed",
	},
	{
		"anybody makes nonces", "auth/digest/nonces.go",
		"!hmac.Equal(n.mac(b[:8+nonceRandom]),\n\t\tb[8+nonceRandom:])", `false`,
		"digest/a_nonce_with_one_bit_changed",
	},
	{
		"the algorithm is not looked at", "auth/digest/header.go",
		`if !strings.EqualFold(params.get("algorithm"), "SHA-256") {`, `if false {`, "digest/MD5$",
	},
	{
		"the key's name is not compared", "auth/token.go",
		`t.keys.Load().named(word(header["kid"]))`,
		`t.keys.Load().active()`, "token/a_kid_that_is_a_path",
	},
	{
		"the type is not compared", "auth/token.go", `case word(header["typ"]) != typ:`,
		`case false:`,
		"token/typ_JWT",
	},
	{
		"every memo is good", "teller/bookings/money.go", `if atm.CheckMemo(memo.Text) != nil {`,
		`if atm.CheckMemo(memo.Text) != nil && false {`, "memo/a_row_of_its_own_in_a_deposit",
	},
	{
		"a token never ends", "auth/token.go", `case !now.Before(c.expires):`, `case false:`,
		"token/exp_past",
	},
	{
		"a bound token works alone", "auth/token.go",
		`case c.certificate != "" && c.certificate != certificate:`, `case false:`,
		"token/bound_to_another_certificate",
	},
	{
		"a token works for others", "auth/token.go", `case !t.isAudience(payload["aud"]):`,
		`case false:`, "token/another_aud",
	},
	{
		"a revoked token works", "auth/auth.go",
		`if a.cfg.Directory.isRevoked("jti:"+c.id, c.subject, issued) {`, `if false {`,
		"token/revoked,_and_its_twin",
	},
	{
		"the scope is not looked at", "auth/permissions.go",
		`if !p.InScope(op) && (op != atm.Notify || p.Grant == "") {`, `if false {`,
		"token/out_of_scope",
	},
	{
		"a certificate for anything is one for clients", "certs/tls.go",
		`case err == nil && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth):`,
		`case err == nil && len(slices.Clone(leaf.ExtKeyUsage)) > 99:`, "certificate/for_anything",
	},
	{
		"a revoked certificate works", "auth/auth.go",
		`if a.cfg.Directory.isRevoked(words.revocation, subject, issued) {`, `if false {`,
		"certificate/revoked_on_an_open_connection",
	},
	{
		"the common name counts", "auth/identity.go",
		`return "", &Error{"certificate without an identity"}`,
		`return strings.Replace(leaf.Subject.CommonName, "/", ":", 1), nil`,
		"certificate/a_common_name_alone",
	},
	{
		"the first of two identities counts", "auth/identity.go",
		`return "", &Error{"certificate with two identities"}`, ``, "certificate/two_identities",
	},
	{
		"a disabled user may sign in", "cmd/internal/roster/roster.go", `if u.Disabled {`,
		`if false {`, "certificate/somebody_disabled",
	},
	{
		"the first mapping counts", "auth/mapping.go", `switch found {`, `switch min(found, 1) {`,
		"certificate/of_another_authority,_that_fits_two_identities",
	},
	{
		"names are compared as they look", "auth/mapping.go",
		`bytes.Equal(leaf.RawSubject, m.Name)`,
		`len(leaf.RawSubject) == len(m.Name)`,
		"certificate/of_another_authority,_a_name_that_prints_alike",
	},
	{
		"a header outvotes a certificate", "auth/auth.go",
		`if byCertificate != nil && byCertificate.Subject != sender {`,
		`if byCertificate != nil && sender == "" {`, "combination/of_two_subjects",
	},
	{
		"the first of two headers counts", "auth/auth.go", `if len(headers) > 1 {`,
		`if len(headers) > 9 {`, "combination/two_headers_beside_a_certificate",
	},
	{
		"codings pass at the token endpoint", "server/server.go",
		`if len(r.TransferEncoding) > 0 {`,
		`if false {`, "http/a_coding_at_the_token_endpoint",
	},
	{
		"other sites' pages call", "server/server.go", `if s.senders.crossSite(w, r) {`,
		`if r.Method == "" && s.senders.crossSite(w, r) {`, "http/another_site's_page$",
	},
	{
		"an empty Idempotency-Key is none", "server/server.go", `case keys[0] == "":`,
		`case false:`,
		"http/an_empty_Idempotency-Key",
	},
	{
		"a grant is for more than the token that made it", "teller/tokens.go",
		`if !ok || !in.Caller.InScope(operationsOf(strings.Join(operations, " "))...) {`,
		`if !ok {`, "derived/a_grant_for_what_the_token_is_not_for",
	},
	{
		"a grant outlives the token that made it", "atm.go",
		`life = min(life, c.Expires.Sub(now).Truncate(time.Second))`, ``,
		"derived/a_grant_within_the_scope",
	},
	{
		"a certificate has the scope of a token", "teller/admin.go",
		`return left, ok && in.Caller.InScope("*")`, `return left, ok`, "derived/a_certificate$",
	},
	{
		"the admin port answers any Host", "server/admin.go",
		`return "The Host is localhost, 127.0.0.1, [::1], or the address that is listened on."`,
		`return ""`, "admin/another_Host$",
	},
	{"a signature is verified whatever its size", "certs/authority.go", `	if err := strongKey(csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("the certificate request is not signed by its key")
	}
`, `	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("the certificate request is not signed by its key")
	}
	if err := strongKey(csr.PublicKey); err != nil {
		return nil, err
	}
`, "certificate/renewed_over_a_huge_key"},
	{
		"everybody owns everything", "vault/rules.go",
		`(p.Owner == "" || p.Owner == a.Owner)`, `true`,
		"permission/another's_money",
	},
	{
		"one address has all connections", "server/conn.go",
		`|| o.from[from] >= o.perAddress {`, `{`,
		"memory/connections_of_one_address",
	},
	{
		"a page of a statement looks at everything", "vault/query/statement.go", `const passedOver = 100`,
		`const passedOver = 100_000`, "memory/a_page_of_an_account_with_many_holds",
	},
	{"an answer has any size", "xmlrpc/multicall.go", `	if need > g.left {
		m :=`, `	if need > g.left && false {
		m :=`, "memory/statements_larger_than_an_answer"},
	{
		"any number of bodies of nobody are kept", "auth/digest/digest.go",
		`release, ok := c.bodies.Take(from, 1, bodyWait)`,
		`release, ok := func() {}, c.bodies != nil && bodyWait > 0`,
		"memory/bodies_before_their_sender_is_known",
	},
	{
		"secrets are checked in order of arrival", "auth/slots.go",
		`if s.earlier(s.waiting[i], s.waiting[next]) {`,
		`if s.earlier(s.waiting[i], s.waiting[next]) && false {`, "secret/a_flood_for_one_user",
	},
	{
		"a grant has no end", "vault/grants.go", `case amount > g.Cap-g.Spent:`, `case amount < 0:`,
		"permission/another's_grant/more_than_its_cap",
	},
	{
		"holes of an archive are written", "cmd/internal/backup/backup.go", `c.n > c.archive.n {`,
		`c.n < 0 {`, "file/a_sparse_archive",
	},
	{
		"a link is followed", "cmd/internal/output/output.go", `case isLink:`, `case false:`,
		"file/a_link",
	},
	{
		"a cookie works in every browser", "auth/session.go",
		`[]byte(s.Agent), []byte(Agent(r))) != 1 {`, `[]byte(s.Agent), []byte(Agent(r))) > 1 {`,
		"browser/session/another_browser",
	},
	{
		"every secret is right", "auth/session.go",
		`[]byte(digest), []byte(member.HA1)) == 1`, `[]byte(digest), []byte(member.HA1)) < 2`,
		"browser/sign-in/a_wrong_secret",
	},
	{
		"forms of other sites are read", "server/console.go",
		`if s.senders.cross.Check(r) != nil || foreign(r) {`, `if foreign(r) {`,
		"browser/other_site",
	},
	{"a device is replaced", "cmd/internal/output/output.go", `case !mode.IsRegular():
		return true, nil`, `case !mode.IsRegular():
		return false, nil`, "file/a_device"},
}

// module is the root of the module.
const module = "../.."

// TestPlantedFlawsAreCaught plants each flaw in a copy of its file, and requires that its
// attack detects it. That takes minutes, so only make flaws does it. Whether each flaw still
// has its place in the code is always checked.
func TestPlantedFlawsAreCaught(t *testing.T) {
	for _, f := range slices.Concat(flaws, signatureFlaws, consoleFlaws, paymentFlaws) {
		t.Run(strings.ReplaceAll(f.name, " ", "_"), func(t *testing.T) {
			path, err := filepath.Abs(filepath.Join(module, f.file))
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte(f.old)); n != 1 {
				t.Fatalf("%s has %d times %s", f.file, n, f.old)
			}
			if os.Getenv("ATM_FLAWS") == "" {
				return
			}
			flawed, overlay := filepath.Join(t.TempDir(), "flawed.go"), filepath.Join(t.TempDir(),
				"overlay.json")
			list, err := json.Marshal(map[string]map[string]string{"Replace": {path: flawed}})
			if err != nil {
				t.Fatal(err)
			}
			for name, data := range map[string][]byte{flawed: bytes.Replace(text, []byte(f.old),
				[]byte(f.new), 1), overlay: list} {
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			in, test, elsewhere := strings.Cut(f.attack, ":")
			if !elsewhere {
				in, test = "cmd/attack", "TestAttacksAreRefused/"+f.attack
			}
			cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-run",
				"^"+strings.ReplaceAll(test, "/", "/^"), ".")
			cmd.Dir = filepath.Join(module, in)
			out, err := cmd.CombinedOutput()
			// The attack itself fails, or the log does not say of it what it must.
			name := strings.TrimSuffix(test, "$")
			if err == nil || !bytes.Contains(out, []byte("--- FAIL: "+name+" ")) &&
				!bytes.Contains(out, []byte(" "+name+": ")) {
				t.Errorf("%s did not notice: %v\n%.2000s", f.attack, err, out)
			}
		})
	}
}
