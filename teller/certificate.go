package teller

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"

	"example.com/atm"
	"example.com/atm/audit/certificate"
	"example.com/atm/vault"
	"example.com/atm/vault/query"
)

// certify carries out Certificate, up to the statement.
func certify(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.Account(0, vault.NotFound)
	if refusal != nil {
		return refusal, nil
	}
	salt := make([]byte, certificate.SaltBytes)
	rand.Read(salt) // never returns an error
	return query.Certificate{
		Party: in.Party(), Account: account, Bank: t.cfg.Realm,
		Salt: base64.RawURLEncoding.EncodeToString(salt),
	}, nil
}

// attach makes the answer of an operation one with a certificate: the statement, its entry and
// the proof that the log has it, for which the reply waits.
func (t *Teller) attach(ctx context.Context, reply Reply) Reply {
	return func() atm.Status {
		status := reply()
		record, ok := status.Result.(atm.Record)
		if status.Code != atm.OK || !ok {
			return status
		}
		text, err := t.certified(ctx, record, status.Receipt)
		if err != nil {
			return atm.Status{
				Code: atm.Unavailable, Reason: "The certificate has not been published yet",
				Result: "",
			}
		}
		status.Result = text
		return status
	}
}

func (t *Teller) certified(ctx context.Context, record atm.Record, receipt string) (string,
	error,
) {
	statement, _ := record.Get("statement").(string)
	word, _, _ := strings.Cut(receipt, " ")
	index, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return "", err
	}
	leaf, err := t.Leaf(ctx, index)
	if err != nil {
		return "", err
	}
	proof, err := t.cfg.Installation.Prove(ctx, index)
	if err != nil {
		return "", err
	}
	return certificate.Join(statement, leaf, proof), nil
}
