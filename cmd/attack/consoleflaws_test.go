//go:build unix

package attack_test

// consoleFlaws are those of the console, of passkeys and of sessions.
var consoleFlaws = []flaw{
	{
		"a form needs no origin", "server/console.go",
		`if s.senders.cross.Check(r) != nil || foreign(r) {`,
		`if s.senders.cross.Check(r) != nil {`,
		"form/of_another_site/another_Referer_alone",
	},
	{
		"a form has any size", "server/console.go", `r.Body = http.MaxBytesReader(w, r.Body, console.MaxForm)`,
		`r.Body = http.MaxBytesReader(w, r.Body, 99*console.MaxForm)`,
		"form/of_another_kind/9_KB",
	},
	{
		"a PUT has any size", "server/console.go", `	r.Body = http.MaxBytesReader(`,
		`	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, console.MaxForm)
	}
	_ = http.MaxBytesReader(`, "form/of_another_kind/a_large_PUT$",
	},
	{
		"a part of a method is one", "console/route.go",
		`if !slices.Contains(strings.Split(page.methods, ", "), r.Method) {`,
		`if !strings.Contains(page.methods, r.Method) || slices.Contains([]string{""}, r.Method) {`, "form/method/POS",
	},
	{
		"the first of two fields counts", "console/internal/intention/intention.go",
		`if len(form[field]) > 1 {`,
		`if len(form[field]) > 9 {`, "form/changed/amount_twice",
	},
	{
		"signing in leads anywhere", "console/signin.go",
		`if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, Prefix) ||`,
		`if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/") ||`,
		"form/next/to_/Console/",
	},
	{
		"signing in leads out of the console", "console/signin.go", `strings.Contains(u.Path, "/.") ||`,
		`u.Path == "" ||`, "form/next/to_/console/../admin/backup",
	},
	{
		"the id of a session is its secret", "auth/session.go", `id := SessionID(cookie.Value)`,
		`id := SessionID(cookie.Value)
	if len(cookie.Value) == len(id) {
		id = cookie.Value
	}`, "session/cookie/the_id_of_a_session_by_passkey",
	},
	{
		"a session outlives its passkey", "teller/sessions/keeper.go", `if s.Passkey != "" {`,
		`if s.Passkey == "none" {`, "session/ended/without_its_passkey,_removed_by_its_user",
	},
	{
		"a session outlives its secret", "auth/session.go",
		`if verifier != "" && hmac.Equal(bound, BindSecret(cookie, verifier)) {`,
		`if verifier != "" {`,
		"session/ended/without_its_secret/a_form",
	},
	{
		"a session outlives signing out everywhere", "auth/session.go",
		"\ta.cfg.Directory.sessionsRevoked(s.Subject, s.Begun) {", "\tfalse {",
		"session/ended/all_ended_by_an_operator",
	},
	{
		"a session is looked up when its request arrives alone", "vault/people/sessions.go",
		`	if c == nil || c.Session == "" {
		return atm.Status{}, false
	}
	s, known`, `	if c == nil || c.Session != "none" {
		return atm.Status{}, false
	}
	s, known`, "session/while_it_ends",
	},
	{
		"a session keeps the cookie from before", "server/signin.go",
		`secret := rand.Text() + rand.Text()`, `secret := rand.Text() + rand.Text()
	if before, err := r.Cookie(auth.SessionCookie); err == nil {
		secret = before.Value
	}`, "session/another/a_cookie_from_before_signing_in",
	},
	{
		"a count is not compared", "vault/people/passkeys.go",
		`return count > p.Count || count == 0 && p.Count == 0`, `return count >= 0`,
		"passkey/to_sign_in/a_count_that_goes_back",
	},
	{
		"nobody has to be verified", "console/internal/passkey/passkey.go",
		`UserVerification:   protocol.VerificationRequired`,
		`UserVerification:   protocol.VerificationPreferred`, "passkey/to_sign_in/nobody_verified",
	},
	{
		"a challenge is for any browser", "console/internal/passkey/passkey.go",
		`sha256.Sum256([]byte(p.Browser))`, `sha256.Sum256(nil)`,
		"passkey/to_sign_in/another_browser's_challenge",
	},
	{
		"a challenge is for anything", "console/internal/passkey/passkey.go",
		`return append(browser[:], p.Act...)`, `return browser[:]`,
		"passkey/to_sign_in/the_challenge_of_an_invitation",
	},
	{
		"an assertion begins many sessions", "teller/sessions/keeper.go", `if b.Challenge != "" {`,
		`if b.Challenge == "none" {`, "passkey/again/the_same_from_the_same_browser",
	},
	{
		"a removed passkey signs in", "teller/sessions/keeper.go",
		`if p == nil || err != nil || !p.Removed.IsZero() {`, `if p == nil || err != nil {`,
		"passkey/again/that_was_removed",
	},
	{
		"a passkey belongs to the last who added it", "vault/people/passkeys.go",
		`if _, known := b.Passkey(p.ID); known {`, `if p.ID == "" {`,
		"passkey/new/the_passkey_of_somebody_else",
	},
	{
		"a public key is anything", "console/internal/passkey/passkey.go", `err = checkKey(c.PublicKey)`,
		`_ = checkKey`, "passkey/new/a_key_on_no_curve",
	},
	{
		"what was confirmed is not compared", "audit/assertion/assertion.go",
		`case err != nil || subtle.ConstantTimeCompare(signed, challenge) != 1:`,
		`case err != nil || subtle.ConstantTimeCompare(signed, signed) != 1:`,
		"confirmation/the_amount,_100_times",
	},
	{
		"anybody's passkey confirms", "teller/confirm/confirm.go",
		`if passkey == nil || passkey.Subject != cmd.Caller.Subject {`, `if passkey == nil {`,
		"confirmation/by_a_lie/another's_passkey$",
	},
	{
		"nobody has to be verified to confirm", "audit/assertion/assertion.go",
		`if device.Flags&flagPresent == 0 || device.Flags&flagVerified == 0 {`,
		`if device.Flags&flagPresent == 0 {`, "confirmation/by_a_lie/nobody_verified",
	},
	{
		"a registration confirms", "audit/assertion/assertion.go",
		`case said.Type != "webauthn.get" || said.CrossOrigin:`, `case said.CrossOrigin:`,
		"confirmation/by_a_lie/the_type_of_a_registration",
	},
	{
		"a page in a page confirms", "audit/assertion/assertion.go",
		`case said.Type != "webauthn.get" || said.CrossOrigin:`, `case said.Type != "webauthn.get":`,
		"confirmation/by_a_lie/a_page_in_a_page",
	},
	{
		"a copy of a passkey confirms", "teller/confirm/confirm.go",
		`if status := r.use.Check(b.People); status.Code != atm.OK {`,
		`if status := r.use.Check(b.People); status.Code == atm.Internal {`,
		"confirmation/by_a_lie/a_count_that_goes_back",
	},
	{
		"what is not confirmed is done", "teller/confirm/confirm.go",
		`cmd.Rule = vault.Refuse(atm.NotConfirmed, "Confirm this with your passkey")`, `_ = vault.Refuse`,
		"confirmation/for_another/without_the_confirmation",
	},
	{
		"a mandate and a standing order need no touch", "teller/confirm/confirm.go",
		`		return 0, is
`, `		return 0, false
`, "console_payment/not_confirmed/a_mandate$",
	},
	{
		"a small standing order needs no touch", "teller/confirm/confirm.go", `		return 0, is
`, `		return 100, is
`, "console_payment/not_confirmed/a_standing_order_of_a_cent$",
	},
	{
		"a mandate without a total counts as nothing", "teller/confirm/confirm.go", `	if i < 0 {
		return true`, `	if i < 0 {
		return counts != "total"`, "console_payment/not_confirmed/a_mandate_without_a_total$",
	},
	{
		"a reversal needs no touch", "teller/confirm/confirm.go", `return transfer, is`,
		`return transfer, false`, "console_payment/not_confirmed/a_reversal$",
	},
	{
		"a passkey signs no arguments", "audit/shown.go", `	e.appendArgs(&w)
`, ``, "console_payment/changed/order.create_with_to_100",
	},
	{
		"anybody revokes a mandate", "vault/mandates.go", `	if !r.Reaches(a) {
		return NoMandate()`, `	if a.Name == "" {
		return NoMandate()`, "console_payment/of_others/the_mandate_of_somebody_else",
	},
	{
		"anybody cancels a standing order", "vault/orders.go", `	if !r.Reaches(a) {
		return NoOrder()`, `	if a.Name == "" {
		return NoOrder()`, "console_payment/of_others/the_order_of_somebody_else",
	},
	{
		"its payer takes a transfer back", "vault/reversals.go",
		`case r.Owner != "" && (!r.Reaches(holder) || !m.Paid):`, `case r.Owner != "" && !m.Paid:`,
		"console_payment/of_others/a_transfer_that_she_paid",
	},
	{
		"a customer takes a deposit back", "vault/reversals.go",
		`case r.Owner != "" && (!r.Reaches(holder) || !m.Paid):`,
		`case r.Owner != "" && !r.Reaches(holder):`, "console_payment/of_others/a_deposit_of_her_own",
	},
	{
		"anybody leaves notices", "vault/notes.go",
		`(a.Version == 0 || !a.CollectedBy(r.Creditor, b.Now))`,
		`(a.Version == 0 || r.Creditor == "")`,
		"console_payment/of_others/a_notice_on_the_account_of_somebody_who_gave_no_mandate",
	},
	{
		"anybody pauses a subscription of somebody else", "teller/subscriptions/subscriptions.go",
		`	if in.Reach != atm.Everywhere {
		return "", denied, nil`, `	if in.Reach == atm.Nowhere {
		return "", denied, nil`, "console_feed/of_others/pause_in_the_form_of_operators$",
	},
	{
		"anybody lists the subscriptions of everybody", "teller/subscriptions/subscriptions.go",
		`if in.Args[0].Text != all || in.Reach != atm.Everywhere {`, `if in.Args[0].Text != all {`,
		"console_feed/of_others/page_admin/feed$",
	},
	{
		"a customer is shown the pages of operators", "console/admin.go",
		`v.cfg.Bank.Reach(v.caller, l.Op) == atm.Everywhere {`, `v.may(l.Op) {`,
		"console_feed/of_others/page_admin$",
	},
	{
		"a customer subscribes to any account", "vault/rules.go",
		`if r.Account != "" && !r.Reaches(b.Account(r.Account)) {`,
		`if r.Account != "" && b.Account(r.Account).Version == 0 {`,
		"console_feed/changed/account_950$",
	},
	{
		"a customer subscribes to everything", "teller/subscriptions/subscriptions.go",
		`case !s.Everything && f.Account == "":`, `case !s.Everything && f.Account == "?":`,
		"console_feed/changed/account_$",
	},
	{
		"a customer subscribes to accounts of somebody else",
		"teller/subscriptions/subscriptions.go", `case !s.Everything && f.Owner != "":`,
		`case !s.Everything && f.Owner == "?":`, "console_feed/changed/owner_user_guy$",
	},
	{
		"an answer is for any browser", "auth/login/login.go",
		`subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(a.State)) != 1:`,
		`subtle.ConstantTimeCompare(nil, nil) != 1:`, "oidc/answer/another_state",
	},
	{
		"an answer is of any provider", "auth/login/login.go",
		`case query.Has("iss") && query.Get("iss") != p.issuer.Name:`, `case false:`,
		"oidc/answer/another_issuer",
	},
	{
		"the first of two states counts", "auth/login/login.go",
		`for _, name := range []string{"state", "iss", "error", "code"} {`,
		`for _, name := range []string{"error", "code"} {`, "oidc/answer/two_states",
	},
	{
		"a page of another site ends a sign-in", "console/login.go",
		`to != "" && to != "document" {`, `to == "?" {`, "oidc/answer/in_a_frame",
	},
}
