package teller

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/teller/lookup"
	"example.com/atm/teller/methods"
	"example.com/atm/teller/passwords"
	"example.com/atm/teller/words"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

func addUser(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	subject := in.Args[0].Text
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	roles, err := words.Roles(in.Args[1].Text)
	if err != nil {
		return nil, malformed("%w", err)
	}
	r := people.Enrol{
		Subject: subject, Roles: roles, Default: words.Newcomer(subject), Result: "",
		Expect: people.Expected(in.Args[4].Text),
	}
	if r.Expect != people.ExpectAny && r.Expect != people.ExpectNew &&
		r.Expect != people.ExpectKnown {
		return nil, malformed("somebody is expected to be new or known")
	}
	if arg := in.Args[2]; arg.Given() {
		if !in.Caller.InScope("*") { // a password has no scope
			return tooMuch, nil
		}
		_, name, _ := atm.ParseSubject(subject)
		if err := passwords.Check(arg.Text, name, t.cfg.Realm); err != nil {
			return nil, malformed("%w", err)
		}
		switch use := in.Args[3]; {
		case !use.Given(), use.Text == "digest":
			r.HA1 = passwords.HA1(name, t.cfg.Realm, arg.Text)
		case use.Text != "token":
			return nil, malformed("a password is for digest or for token")
		default:
			if r.Slow, err = t.cfg.Credentials.HashSecret(arg.Text); err != nil {
				return nil, malformed("%v", err)
			}
		}
	}
	return vault.People(r), nil
}

func listUsers(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	all, err := t.cfg.Store.Users(ctx)
	if err != nil {
		return nil, err
	}
	start, _ := slices.BinarySearchFunc(all, in.Args[0].Text,
		func(u people.User, after string) int {
			if u.Subject <= after {
				return -1
			}
			return 1
		})
	page := all[start:]
	next := ""
	if len(page) > methods.MaxRows {
		page = page[:methods.MaxRows]
		next = page[methods.MaxRows-1].Subject
	}
	users := make([]atm.Record, len(page))
	for i, u := range page {
		users[i] = u.Record()
	}
	return vault.Report{Result: atm.Record{
		{Name: "users", Value: users},
		{Name: "next", Value: next},
	}}, nil
}

func showUser(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	return vault.People(people.ShowUser{Subject: in.Args[0].Text}), checkSubject(in.Args[0].Text)
}

func disable(disabled bool) func(context.Context, *Teller, *input) (vault.Rule, error) {
	return func(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
		if err := checkSubject(in.Args[0].Text); err != nil {
			return nil, err
		}
		return vault.People(people.SetDisabled{Subject: in.Args[0].Text, Disabled: disabled}), nil
	}
}

// revokeSubject revokes every credential of a subject that is known or invited.
func revokeSubject(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	subject := in.Args[0].Text
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	issued, err := t.cfg.Store.Certificates(ctx)
	if err != nil {
		return nil, err
	}
	invited := slices.ContainsFunc(issued, func(c people.Certificate) bool {
		return c.Subject == subject
	})
	return vault.People(people.RevokeSubject{Subject: subject, Invited: invited}), nil
}

// revokeCertificate revokes a certificate. Those of this server are known; a foreign one,
// which an identity may name, is not.
func revokeCertificate(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	serial, ok := words.Serial(in.Args[0].Text)
	if !ok {
		return nil, malformed("a serial number is hexadecimal")
	}
	if foreign := in.Args[1]; foreign.Given() {
		if foreign.Text != "foreign" {
			return nil, malformed("what can be said of a certificate is foreign")
		}
		return vault.People(people.Revoke{Name: people.CertRevocation(serial)}), nil
	}
	issued, err := lookup.Issued(ctx, t.cfg.Store, serial)
	if err != nil {
		return nil, err
	}
	if !issued {
		return vault.Refuse(atm.AccountNotFound, "There is no certificate "+serial+
			" of this server that is good"), nil
	}
	return vault.People(people.Revoke{Name: people.CertRevocation(serial)}), nil
}

func listCertificates(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	all, err := t.cfg.Store.Certificates(ctx)
	if err != nil {
		return nil, err
	}
	revoked, err := lookup.Revoked(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c people.Certificate) bool {
		return strings.HasPrefix(c.Serial, people.TokenRevocation("", ""))
	})
	start, _ := slices.BinarySearchFunc(all, in.Args[0].Text, func(c people.Certificate,
		after string,
	) int {
		if c.Serial <= after {
			return -1
		}
		return 1
	})
	page, next := all[start:], ""
	if len(page) > methods.MaxRows {
		page = page[:methods.MaxRows]
		next = page[methods.MaxRows-1].Serial
	}
	used, err := lookup.LastUses(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	certificates := make([]atm.Record, len(page))
	for i, c := range page {
		_, is := revoked["cert:"+c.Serial]
		authority := "before"
		if t.cfg.Credentials.InForce(c.Serial) {
			authority = "in force"
		}
		certificates[i] = atm.Record{
			{Name: "serial", Value: c.Serial},
			{Name: "subject", Value: c.Subject},
			{Name: "not_after", Value: c.NotAfter.Format(time.RFC3339)},
			{Name: "revoked", Value: is},
			{Name: "authority", Value: authority},
			{Name: "last_use", Value: used[c.Serial]},
		}
	}
	return vault.Report{Result: atm.Record{
		{Name: "certificates", Value: certificates},
		{Name: "next", Value: next},
	}}, nil
}

func revocationList(ctx context.Context, t *Teller, _ *input) (vault.Rule, error) {
	all, err := t.cfg.Store.Revocations(ctx)
	if err != nil {
		return nil, err
	}
	var certificates []people.Revocation
	for _, r := range all {
		if serial, is := strings.CutPrefix(r.Name, "cert:"); is {
			certificates = append(certificates, people.Revocation{Name: serial, At: r.At})
		}
	}
	list, err := t.cfg.Credentials.RevocationList(certificates)
	if err != nil {
		return nil, err
	}
	return vault.Report{Result: atm.Record{{Name: "crl", Value: list}}}, nil
}
