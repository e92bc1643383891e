package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/documents"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/printable"
	"github.com/spf13/pflag"
)

// saving says in which file an answer is saved, and how.
type saving struct {
	form, out string
	proof     bool
}

func (s *saving) add(flags *pflag.FlagSet) {
	flags.StringVar(&s.form, "format", "", "`form` of a statement that is saved as a file: "+
		strings.Join(formNames(), ", "))
	flags.StringVar(&s.out, "out", "", "`file` for a statement or a certificate")
	flags.BoolVar(&s.proof, "proof", false, "save what proves a statement as well, in the file "+
		"beside it whose name ends in "+documents.ProofSuffix)
}

func formNames() []string {
	var names []string
	for _, form := range documents.Forms {
		names = append(names, string(form))
	}
	return names
}

// check refuses flags that do not go together, before anything is sent.
func (s *saving) check(op atm.Operation) error {
	switch {
	case *s == (saving{}):
		return nil
	case op != atm.Statement && (op != atm.Certificate || s.form != "" || s.proof):
		return exit.Usagef("%s takes no --format, --out or --proof: statement does, and "+
			"certificate takes --out", op)
	case s.out == "":
		return exit.Usagef("--out is needed: the name of the file")
	case op == atm.Statement && s.form == "":
		return exit.Usagef("--format is needed: %s", strings.Join(formNames(), ", "))
	case s.form != "" && !slices.Contains(formNames(), s.form):
		return exit.Usagef("--format is %s, not %q%s", strings.Join(formNames(), ", "), s.form,
			exit.DidYouMean(s.form, formNames()...))
	}
	err := output.Check(s.out)
	if err == nil && s.proof {
		err = output.Check(s.out + documents.ProofSuffix)
	}
	return err
}

// saveStatement saves all of a statement as a file, whole or not at all, and before it what
// proves it.
func (o *options) saveStatement(ctx context.Context, to *target, r *request) error {
	if r.page.Cursor != "" {
		return exit.Usagef("a file has all of a statement: --cursor is not needed")
	}
	c, err := o.connect(to)
	if err != nil {
		return err
	}
	saved, err := documents.Fetch(ctx, c, r.account, r.page.From, r.page.To,
		documents.Form(o.save.form), o.save.proof)
	if err != nil {
		return err
	}
	file, err := output.Create(ctx, o.save.out, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(documents.Text(saved.Lines)); err != nil {
		return err
	}
	if o.save.proof {
		err := output.Write(ctx, o.save.out+documents.ProofSuffix, saved.Proof, 0o600)
		if err != nil {
			return err
		}
	}
	if err := file.Commit(); err != nil {
		return err
	}
	switch {
	case o.quiet:
	case o.save.proof:
		printable.Linef(o.stderr, "Statement saved. Check it with: atmctl check %s%s", o.save.out,
			keyOption(o.save.out))
	default:
		printable.Linef(o.stderr, "Statement saved. With --proof it can be checked")
	}
	return nil
}

// saveCertificate saves the certificate that was just answered.
func (o *options) saveCertificate(ctx context.Context, answer *client.Answer) error {
	text := answer.Text()
	if text == "" {
		return errors.New("the answer has no certificate")
	}
	if err := output.Write(ctx, o.save.out, []byte(text), 0o600); err != nil {
		return err
	}
	if !o.quiet {
		printable.Linef(o.stderr, "Certificate saved. Check it with: atmctl check %s%s",
			o.save.out, keyOption(o.save.out))
	}
	return nil
}
