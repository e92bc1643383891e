package auditlog

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/certificate"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/documents"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
)

// CheckCommand returns the command that checks what a customer was given.
func CheckCommand(env *ctl.Env) *cobra.Command {
	var vkey string
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a statement or an account certificate, offline",
		Long: `Check a statement that "atmclient statement --format --out FILE --proof" saved, or an account
certificate, with the public key of the log in --vkey. Without --vkey the file log.vkey
beside FILE is used, or else the one in ./atm-data/audit.

A statement is right if the audit log has each of its lines and the answers that it was made
from, and none is missing between its opening and its closing balance. FILE.proof, beside
it, has what proves that. The first line that is wrong is named.

Exit codes: 0 verified, 10 FILE cannot be checked, 11 signature, key or origin is wrong,
12 FILE, or what proves it, says something else than the log.`,
		Example: "  atmctl check november.xml --vkey log.vkey\n" +
			"  atmctl check certificate.txt --vkey log.vkey",
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			return checkDocument(env, args[0], vkey)
		},
	}
	cmd.Flags().StringVar(&vkey, "vkey", "", "`file` with the public keys of the log, one a line "+
		"(default log.vkey beside FILE, or in ./atm-data/audit)")
	return cmd
}

// A verdict is the result of a check for programs.
type verdict struct {
	OK          bool       `json:"ok"`
	Code        int        `json:"code"`
	Document    string     `json:"document"`
	Line        int        `json:"line,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	Statement   *stated    `json:"statement,omitempty"`
	Certificate *certified `json:"certificate,omitempty"`
}

// stated is what a verified statement is about.
type stated struct {
	Bank      string    `json:"bank"`
	Account   string    `json:"account"`
	From      string    `json:"from"` // as it was asked for
	To        string    `json:"to"`
	Created   time.Time `json:"created"`
	Opening   string    `json:"opening"`
	Closing   string    `json:"closing"`
	Movements int       `json:"movements"`
}

// certified is what a verified certificate states.
type certified struct {
	Bank     string    `json:"bank"`
	Holder   string    `json:"holder"`
	Account  string    `json:"account"`
	Standing string    `json:"standing"`
	At       time.Time `json:"at"`
}

func checkDocument(env *ctl.Env, path, vkey string) error {
	if vkey == "" {
		vkey = keyFor(path)
		env.Warn("the key " + vkey + " was used: it proves nothing against somebody who could " +
			"replace it and the document; name one with --vkey")
	}
	found, sentence := documentAt(path, vkey)
	if env.IsJSON() {
		if !found.OK {
			found.Reason = sentence
		}
		if err := env.WriteJSON(found); err != nil {
			return err
		}
		return ctl.Silent(found.Code)
	}
	if !found.OK {
		output.Verdict(env.Stderr, false, "not verified", sentence)
		return ctl.Silent(found.Code)
	}
	return output.Verdict(env.Stdout, true, "verified", sentence)
}

// documentAt checks the document in a file.
func documentAt(path, vkey string) (found *verdict, sentence string) {
	no := func(err error) (*verdict, string) {
		return &verdict{Code: audit.CannotVerify, Document: "unknown"}, err.Error()
	}
	file, err := ctl.ReadLarge(path, documents.MaxFile)
	if err != nil {
		return no(err)
	}
	proof, err := ctl.ReadLarge(path+documents.ProofSuffix, documents.MaxProof)
	bare := errors.Is(err, fs.ErrNotExist)
	if err != nil && !bare {
		return no(err)
	}
	key, err := ctl.ReadNamed(vkey)
	if err != nil {
		return no(err)
	}
	switch {
	case !bare:
		return checkStatement(file, proof, string(key))
	case certificate.Is(file):
		return checkCertificate(string(file), string(key))
	}
	return no(fmt.Errorf("%s is no account certificate, and there is no %s, which a statement is "+
		"checked by", path, path+documents.ProofSuffix))
}

func checkStatement(file, proof []byte, key string) (*verdict, string) {
	r := documents.CheckStatement(file, proof, key)
	found := &verdict{OK: r.OK(), Code: r.Code, Document: "statement", Line: r.Line}
	if s := r.Statement; s != nil {
		found.Statement = &stated{
			s.Bank, s.Account, s.From, s.To, s.Created, s.Opening.String(), s.Closing.String(),
			len(s.Movements),
		}
	}
	return found, r.Sentence
}

func checkCertificate(text, key string) (*verdict, string) {
	found := &verdict{Document: "certificate"}
	s, report := certificate.Check(text, key)
	if found.Code = report.Code; !report.OK() {
		return found, report.Sentence
	}
	found.OK = true
	found.Certificate = &certified{s.Bank, s.Holder, s.Account, s.Standing, s.At}
	holder := s.Holder
	if holder == "" {
		holder = "a holder whose name the bank does not know"
	}
	return found, fmt.Sprintf("account %s of %s is %s, at %s, says %s; %s", s.Account, holder,
		s.Standing, s.At.Format(time.RFC3339), s.Bank, report.Sentence)
}
