package auditlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/published"
	"example.com/atm/cmd/internal/signed"
	"github.com/spf13/cobra"
)

// defaultSigned is where a server keeps what proves signed requests.
const defaultSigned = "./atm-data/signed"

func signatureCommand(env *ctl.Env) *cobra.Command {
	var folder string
	cmd := &cobra.Command{
		Use:   "signature INDEX [DIR|URL]",
		Short: "Show and verify the signature of the request of an entry",
		Long: `Show what the caller of an entry signed (RFC 9421), and verify it: the files in the folder of
--signed are what the entry names by its hash, the signature is that of the key of the
certificate, and it is for the operation of the entry and from its time. The certificate is the
one by which the caller signed in, or, after a token or a password, one whose URI names the
caller. Whether its authority is to be trusted is for you to see, and so are the arguments: they
are in the body of the request as the caller wrote them, and in the entry as they were
understood. A body with a secret or the name of a holder is not kept.

The folder is that of the server that answered. Without --signed it is beside the folder of
the log, or ./atm-data/signed.

Exit codes: 0 the signature verifies, 10 the request was not signed or nothing of it is kept
in the folder, 11 the signature does not verify, 12 what is kept is not what the entry says.`,
		Example: "  atmctl audit signature 4711\n" +
			"  atmctl audit signature 4711 /mnt/copy/audit --signed /mnt/copy/signed",
		Args: exit.Args(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			log, index, err := openEntry(cmd.Context(), env, args)
			if err != nil {
				return err
			}
			if where := strings.Join(args[1:], ""); folder == "" && where != "" &&
				!isURL(where) && !published.IsArchive(where) {
				folder = filepath.Join(filepath.Dir(filepath.Clean(where)), "signed")
			}
			if folder == "" {
				folder = defaultSigned
			}
			return showSignature(cmd.Context(), env, log, index, signed.Folder(folder))
		},
	}
	cmd.Flags().StringVar(&folder, "signed", "", "`folder` with what proves signed requests")
	return cmd
}

func showSignature(ctx context.Context, env *ctl.Env, log *audit.Log, index int64,
	folder signed.Folder,
) error {
	return log.Entries(ctx, index, index+1, func(_ int64, leaf []byte, _ merkle.Hash) error {
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		proof, err := folder.Check(entry)
		switch {
		case errors.Is(err, signed.ErrUnsigned), errors.Is(err, signed.ErrNotKept):
			return coded(audit.CannotVerify, err)
		case errors.Is(err, signed.ErrForged):
			return coded(audit.WrongSignature, err)
		case errors.Is(err, fs.ErrPermission):
			return err
		case err != nil:
			return coded(audit.ContentDiffers, err)
		}
		if env.IsJSON() {
			return env.WriteJSON(inJSON(index, entry, proof))
		}
		return sayProof(env, entry, proof)
	})
}

// sayProof prints what was signed, for people.
func sayProof(env *ctl.Env, entry *audit.Entry, p *signed.Proof) error {
	for i, s := range p.Record.Signed {
		if _, err := fmt.Fprintf(env.Stdout, "signature %d of %d is over\n", i+1,
			len(p.Record.Signed)); err != nil {
			return err
		}
		for line := range strings.SplitSeq(s.Base, "\n") {
			fmt.Fprintf(env.Stdout, "  %s\n", line)
		}
	}
	body := "The body is not kept here."
	if p.Body != nil {
		body = "body " + string(p.Body)
	}
	fmt.Fprintln(env.Stdout, body)
	for _, arg := range entry.Args {
		fmt.Fprintf(env.Stdout, "entry has %s = %s\n", arg.Name, arg.Value)
	}
	return output.Verdict(env.Stdout, true, "verified", fmt.Sprintf("%s signed this %s at %s by "+
		"the certificate with serial %x of %s", signer(entry), entry.Operation,
		p.Said.Created.Format(time.RFC3339), p.Certificate.SerialNumber, holder(p)))
}

// signer is the one who sent the request: under a grant, the actor and not the grantor.
func signer(entry *audit.Entry) string {
	return cmp.Or(entry.Caller.Actor, entry.Caller.Subject)
}

// holder names the holder of the certificate, as its authority does.
func holder(p *signed.Proof) string {
	if uris := p.Certificate.URIs; len(uris) > 0 {
		return uris[0].String()
	}
	return p.Certificate.Subject.String()
}

// A shownProof is a proof as JSON.
type shownProof struct {
	Index       int64         `json:"index"`
	Signature   string        `json:"signature"`
	Signer      string        `json:"signer"`
	Operation   string        `json:"operation"`
	Created     time.Time     `json:"created"`
	KeyID       string        `json:"keyid"`
	Holder      string        `json:"holder"`
	Certificate []byte        `json:"certificate"` // DER
	Signed      []shownSigned `json:"signed"`
	Body        *string       `json:"body"` // null if it is not kept
}

type shownSigned struct {
	Base      string `json:"base"`
	Signature []byte `json:"signature"`
}

func inJSON(index int64, entry *audit.Entry, p *signed.Proof) *shownProof {
	shown := &shownProof{
		Index: index, Signature: entry.Caller.Signature, Signer: signer(entry),
		Operation: string(entry.Operation), Created: p.Said.Created, KeyID: p.Said.KeyID,
		Holder: holder(p), Certificate: p.Certificate.Raw,
	}
	for _, s := range p.Record.Signed {
		shown.Signed = append(shown.Signed, shownSigned(s))
	}
	if p.Body != nil {
		body := string(p.Body)
		shown.Body = &body
	}
	return shown
}
