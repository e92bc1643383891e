package keys

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
)

// ownClients are the folders below clients/ that init created. The server renews their
// certificates.
var ownClients = [...]string{"operator", "demo"}

// renewOwnClients renews the certificates in the data folder in the last third of their lives,
// and when their authority is no longer in force.
func (k *Keys) renewOwnClients(ctx context.Context) {
	for _, name := range ownClients {
		switch err := k.renewOwnClient(ctx, k.cfg.Dir.Client(name)); {
		// A certificate that was moved out of the folder is not renewed.
		case err == nil, errors.Is(err, fs.ErrNotExist):
		default:
			k.cfg.Log.Error("a certificate in the data folder is not renewed",
				slog.String("client", name), slog.Any("error", err))
		}
	}
}

// renewOwnClient renews the certificate in a folder for its key, as its holder would: not if it
// is revoked or expired.
func (k *Keys) renewOwnClient(ctx context.Context, folder string) error {
	certFile := filepath.Join(folder, "client.crt")
	pem, err := os.ReadFile(certFile)
	if err != nil {
		return err
	}
	cert, err := certs.ParseCertificate(pem)
	if err != nil {
		return fmt.Errorf("%s: %w", certFile, err)
	}
	ofBefore := cert.CheckSignatureFrom(k.Clients()) != nil
	if !ofBefore && !certs.InLastThird(cert, k.cfg.Replicas.Now()) {
		return nil
	}
	caller, err := k.signIn.Holder([]*x509.Certificate{cert})
	if err != nil {
		return err
	}
	if pem, err = durable.ReadSecret(filepath.Join(folder, "client.key")); err != nil {
		return err
	}
	key, err := certs.ParseKey(pem)
	if err != nil {
		return err
	}
	request, err := certs.NewRequest(key)
	if err != nil {
		return err
	}
	reply, err := k.teller.Begin(ctx, caller, teller.Call{
		Operation: atm.CertRenew,
		Args:      []atm.Arg{{Kind: atm.String, Text: string(request)}},
	})
	if err != nil {
		return err
	}
	status := reply()
	record, _ := status.Result.(atm.Record)
	next, _ := record.Get("certificate").(string)
	if status.Code != atm.OK || next == "" {
		return errors.New(status.Reason)
	}
	if err := durable.WriteFile(certFile, []byte(next), 0o644); err != nil {
		return err
	}
	k.cfg.Log.InfoContext(ctx, "a certificate in the data folder was renewed",
		slog.String("subject", caller.Subject))
	return nil
}
