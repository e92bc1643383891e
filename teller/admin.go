package teller

import (
	"context"
	"errors"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/words"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/query"
)

// Issued is a certificate that was signed.
type Issued struct {
	Certificate string // PEM
	Authority   string // PEM: what the holder trusts the server by
	Serial      string // hex
	SHA256      string // hex, of the DER bytes
	NotAfter    time.Time
}

func showAccount(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.Account(0, vault.NotFound)
	if refusal != nil {
		return refusal, nil
	}
	return query.ShowAccount{Account: account}, nil
}

const (
	certificateLifeMin = 5 * time.Minute
	certificateDays    = 365
	certificateDaysMax = 825
)

func issueCertificate(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	subject := in.Args[0].Text
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	roles, err := words.Roles(in.Args[2].Text)
	if err != nil {
		return nil, malformed("%w", err)
	}
	life := certificateDays * 24 * time.Hour
	if arg := in.Args[3]; arg.Given() {
		if life, err = certificateLife(arg.Text); err != nil {
			return nil, err
		}
	}
	if in.Caller.Derived() {
		var ok bool
		if life, ok = in.whole(life); !ok {
			return tooMuch, nil
		}
	}
	// A certificate says in whole seconds when it was issued.
	in.About = append(in.About, people.Warrant{
		Subject: subject,
		Issued:  time.Now().Truncate(time.Second), Named: true, Stranger: true,
	})
	enrol, err := t.certificate(in.Args[1].Text, subject, roles, life)
	return vault.People(enrol), err
}

// whole bounds the life of a certificate that is asked for by a token. A certificate
// has no scope, so a token that is for some operations alone makes none.
func (in *input) whole(life time.Duration) (time.Duration, bool) {
	left, ok := in.Caller.Left(life, time.Now())
	return left, ok && in.Caller.InScope("*")
}

// certificateLife reads the life of a certificate, in days or with a unit.
func certificateLife(text string) (time.Duration, error) {
	life, err := time.ParseDuration(text)
	if days, notDays := strconv.Atoi(text); notDays == nil && days <= certificateDaysMax {
		life, err = time.Duration(days)*24*time.Hour, nil
	}
	if err != nil || life < certificateLifeMin || life > certificateDaysMax*24*time.Hour {
		return 0, malformed("the life of a certificate is %v to %d days", certificateLifeMin,
			certificateDaysMax)
	}
	return life, nil
}

// renewCertificate gives a caller who signed in by a certificate of this server's
// own authority another one, over another key and as long as the one it has.
func renewCertificate(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	if in.Caller.Life <= 0 || in.Caller.Actor != "" {
		return vault.Refuse(atm.PermissionDenied, "Only a caller who signs in by a "+
			"certificate of this server renews it"), nil
	}
	enrol, err := t.certificate(in.Args[0].Text, in.Caller.Subject, nil, in.Caller.Life)
	return vault.People(people.Renewed{
		Enrol: enrol, Serial: in.Caller.Serial,
		Issued: in.Caller.Issued,
	}), err
}

// certificate signs a certificate for subject over the key of a request.
func (t *Teller) certificate(request, subject string, roles []atm.Role,
	life time.Duration,
) (people.Enrol, error) {
	issued, err := t.cfg.Credentials.IssueClient([]byte(request), subject, life)
	if err != nil {
		return people.Enrol{}, malformed("the certificate request: %w", err)
	}
	record := &people.Certificate{
		Serial: issued.Serial, Subject: subject,
		NotAfter: issued.NotAfter.UTC(),
	}
	return people.Enrol{
		Subject: subject, Roles: roles, Default: words.Newcomer(subject),
		Certificate: record, Result: atm.Record{
			{Name: "certificate", Value: issued.Certificate},
			{Name: "authority", Value: issued.Authority},
			{Name: "serial", Value: issued.Serial},
			{Name: "sha256", Value: issued.SHA256},
			{Name: "not_after", Value: issued.NotAfter.UTC().Format(time.RFC3339)},
		},
	}, nil
}

// Backup records that caller takes a backup, or was refused it. A backup is made only when the
// answer is OK. prepare is called if caller may take one, and before that is recorded.
func (t *Teller) Backup(ctx context.Context, caller *atm.Caller,
	prepare func(context.Context) error,
) atm.Status {
	cmd := vault.Command{
		Event: audit.EventAdmin, Operation: atm.Backup, Caller: caller,
		Rule: vault.Report{},
	}
	if t.cfg.Permissions.Permit(caller.Principal, atm.Backup) != atm.Everywhere {
		cmd.Rule = denied
	} else if err := prepare(ctx); errors.Is(err, ErrNoBase) {
		cmd.Rule = vault.Refuse(atm.Fault, err.Error())
	} else if err != nil {
		cmd.Rule = vault.Refuse(atm.Unavailable, err.Error())
	}
	cmd.Warrants = t.warrants(caller, atm.Backup)
	return t.cfg.Ledger.Do(ctx, cmd)
}

// ErrNoBase reports an earlier backup that an incremental one cannot build on.
var ErrNoBase = errors.New("no backup can build on that one")

func rotateAudit(ctx context.Context, t *Teller, _ *input) (vault.Rule, error) {
	r, err := t.cfg.Credentials.RotateAudit(ctx)
	if errors.Is(err, ErrNotPublished) || errors.Is(err, ErrKeyElsewhere) {
		return nil, malformed("%w", err)
	}
	if err != nil {
		return nil, err
	}
	return vault.Report{Result: r.New}, nil
}

// ErrNotPublished reports a rotation of the key of the log before a checkpoint is
// published that the last key signed.
var ErrNotPublished = errors.New("the log is not published with the key of the last rotation " +
	"yet: try again")

// ErrKeyElsewhere reports a rotation of a key that the server cannot make.
var ErrKeyElsewhere = errors.New("the key is in a module: put another one there, and start the " +
	"server with its URI")

func rotateTokens(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	force := in.Args[0].Given()
	if force && in.Args[0].Text != "force" {
		return nil, malformed("what can be said is force")
	}
	old, kid, wait, err := t.cfg.Credentials.RotateTokens(ctx, force)
	if errors.Is(err, ErrKeyElsewhere) {
		return nil, malformed("%w", err)
	}
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return nil, malformed("tokens of the key before the last one are good for another %v; "+
			"force makes them die", wait.Round(time.Second))
	}
	t.KeyRotated(ctx, old, kid)
	return vault.Report{Result: kid}, nil
}

// ErrSharedVault reports a rotation of keys that other servers have as well.
var ErrSharedVault = errors.New("several servers share this key: rotate it while they are " +
	"stopped, with atmctl vault rekey")

func rotateVault(_ context.Context, t *Teller, _ *input) (vault.Rule, error) {
	err := t.cfg.Credentials.RotateVault()
	if errors.Is(err, ErrSharedVault) {
		return nil, malformed("%w", err)
	}
	if err != nil {
		return nil, err
	}
	return vault.Report{Result: ""}, nil
}
