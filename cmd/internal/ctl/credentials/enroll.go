package credentials

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/internal/durable"
	"github.com/spf13/cobra"
)

func inviteCommand(env *ctl.Env) *cobra.Command {
	var roles []string
	var out string
	var wait, life time.Duration
	invite := &cobra.Command{
		Use: "invite KIND:NAME --out FILE", Short: "Create a code that somebody exchanges " +
			"for a certificate",
		Long: `Create a code that works once. atmctl enroll exchanges it for a client certificate of this
subject. The private key is created there and never travels.`,
		Example: "  atmctl cert invite service:billing --role teller --out billing.code",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := ctl.CheckRoles(roles); err != nil {
				return err
			}
			if _, _, ok := atm.ParseSubject(args[0]); !ok {
				return exit.Usagef("%q is not a subject: user:NAME or service:NAME", args[0])
			}
			if out == "" {
				return exit.Usagef("--out is missing: a file for the code")
			}
			if err := output.CheckNew(out); err != nil {
				return err
			}
			asked := []any{args[0], strings.Join(roles, " "), wait.String()}
			if cmd.Flags().Changed("life") {
				asked = append(asked, life.String())
			}
			result, err := env.Call(cmd.Context(), string(atm.CertInvite), asked...)
			if err != nil {
				return err
			}
			record, _ := result.(map[string]any)
			code, ok := record["code"].(string)
			if !ok {
				return errors.New("the server's answer has no code")
			}
			if err := output.WriteNew(cmd.Context(), out, []byte(code+"\n"), 0o600); err != nil {
				return err
			}
			return env.PrintOne([]string{"jti", "expires", "file"},
				map[string]any{"jti": record["jti"], "expires": record["expires"], "file": out})
		},
	}
	invite.Flags().StringArrayVar(&roles, "role", nil, "`role` of the subject: customer, teller, "+
		"auditor, operator or service; repeatable")
	invite.Flags().StringVar(&out, "out", "", "`file` for the code")
	invite.Flags().DurationVar(&wait, "ttl", 24*time.Hour, "how long the code can be used, at "+
		"most 144h")
	invite.Flags().DurationVar(&life, "life", 0, "life of the certificate, at least 5m "+
		"(default 365 days)")
	return invite
}

// An enrolment is the arguments of enroll.
type enrolment struct {
	ca, fingerprint string // exactly one of the two
	code, out       string
}

func enrollCommand(env *ctl.Env) *cobra.Command {
	var e enrolment
	enroll := &cobra.Command{
		Use:   "enroll --code-file FILE --out DIR",
		Short: "Get a client certificate with the code of an invitation",
		Long: `Get a client certificate with the code of an invitation. The private key is created here,
in DIR, and never travels. The server must have a certificate of the authority in a file
(--ca), or of the authority with a SHA-256 fingerprint (--ca-sha256), as atmserver prints it.`,
		Example: "  atmctl enroll --server https://atm.example:9000 --ca-sha256 C8:46:… " +
			"--code-file billing.code --out billing",
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case (e.ca == "") == (e.fingerprint == ""):
				return exit.Usagef("one of --ca and --ca-sha256 says what the server is trusted by")
			case e.code == "":
				return exit.Usagef("--code-file is missing: the file of cert invite; - for " +
					"standard input")
			case e.out == "":
				return exit.Usagef("--out is missing: a folder for client.crt, client.key and " +
					"ca.crt")
			}
			return enrollWithCode(cmd.Context(), env, e)
		},
	}
	enroll.Flags().StringVar(&e.ca, "ca", "", "`file` with the authority of the server's "+
		"certificate")
	enroll.Flags().StringVar(&e.fingerprint, "ca-sha256", "", "`fingerprint` of it")
	enroll.Flags().StringVar(&e.code, "code-file", "", "`file` with the code; - for standard input")
	enroll.Flags().StringVar(&e.out, "out", "", "`folder` for the files")
	return enroll
}

// maxEnrollAnswer bounds an answer, in bytes.
const maxEnrollAnswer = 256 << 10

func enrollWithCode(ctx context.Context, env *ctl.Env, e enrolment) error {
	files := client.InFolder(e.out)
	if _, err := os.Lstat(files.Cert); !errors.Is(err, fs.ErrNotExist) {
		return exit.Usagef("%s exists; choose another folder", files.Cert)
	}
	if err := durable.MkdirAll(e.out, 0o700); err != nil {
		return err
	}
	if err := output.Check(files.CA); err != nil {
		return err
	}
	code, err := settings.Passphrase(e.code, "Code")()
	if err != nil {
		return &exit.Error{Code: exit.NotAuthenticated, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, env.Timeout)
	defer cancel()
	trusting, err := trustedAuthority(ctx, env, e)
	if err != nil {
		return err
	}
	request, err := enrolmentRequest(files)
	if err != nil {
		return err
	}
	form := url.Values{"code": {string(code)}, "request": {string(request)}}
	text, err := exchange(ctx, trusting, http.MethodPost, env.Server+"/enroll",
		strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	var answer struct {
		Certificate string `json:"certificate"`
		Authority   string `json:"authority"`
		Serial      string `json:"serial"`
		NotAfter    string `json:"not_after"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Certificate == "" ||
		answer.Authority == "" {
		return errors.New("the server's answer has no certificate")
	}
	if err := output.Write(ctx, files.CA, []byte(answer.Authority), 0o644); err != nil {
		return err
	}
	if err := output.Write(ctx, files.Cert, []byte(answer.Certificate), 0o644); err != nil {
		return err
	}
	return env.PrintOne([]string{"serial", "not_after", "folder"},
		map[string]any{"serial": answer.Serial, "not_after": answer.NotAfter, "folder": e.out})
}

// enrolmentRequest returns a certificate request for the key in files. It creates the key
// unless a failed enrolment has left one.
func enrolmentRequest(files client.Files) ([]byte, error) {
	text, err := durable.ReadSecret(files.Key)
	if err == nil {
		key, err := certs.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files.Key, err)
		}
		return certs.NewRequest(key)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := certs.NewKey()
	if err != nil {
		return nil, err
	}
	if text, err = certs.EncodeKey(key); err != nil {
		return nil, err
	}
	if err := durable.CreateFile(files.Key, text, 0o600); err != nil {
		return nil, err
	}
	return certs.NewRequest(key)
}

// trustedAuthority returns a configuration that trusts the server: by the authority in a file,
// or by the one that the server sends if that has the right fingerprint.
func trustedAuthority(ctx context.Context, env *ctl.Env, e enrolment) (*tls.Config, error) {
	if e.ca != "" {
		return client.Trusting(e.ca)
	}
	// This connection sends no secret, and nothing received over it is trusted before the
	// fingerprint is compared.
	text, err := exchange(ctx, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13},
		http.MethodGet, env.Server+"/ca.crt", nil)
	if err != nil {
		return nil, err
	}
	cert, err := certs.ParseCertificate(text)
	if err != nil {
		return nil, &exit.Error{Code: exit.NoConnection, Err: fmt.Errorf("the server hands out "+
			"no authority: %w", err)}
	}
	if got := certs.Fingerprint(cert); !strings.EqualFold(strings.ReplaceAll(got, ":", ""),
		strings.ReplaceAll(e.fingerprint, ":", "")) {
		return nil, &exit.Error{Code: exit.NoConnection, Err: fmt.Errorf("the server's authority "+
			"has the fingerprint %s, not the one that was named", got)}
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, nil
}

// exchange sends a request without credentials and returns the body of the answer if its
// status is 200.
func exchange(ctx context.Context, trusting *tls.Config, method, target string,
	form io.Reader,
) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, form)
	if err != nil {
		return nil, exit.Usagef("--server: %w", err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	transport := &http.Transport{TLSClientConfig: trusting}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, &exit.Error{Code: exit.NoConnection, Err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxEnrollAnswer))
	switch sentence := strings.TrimSpace(string(text)); {
	case err != nil:
		return nil, &exit.Error{Code: exit.NoConnection, Err: err}
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, &exit.Error{Code: exit.NotAuthenticated, Err: errors.New(sentence)}
	case resp.StatusCode != http.StatusOK:
		return nil, &exit.Error{Code: exit.Refused, Err: fmt.Errorf("%s (%d)", sentence,
			resp.StatusCode)}
	}
	return text, nil
}
