package auditlog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/auth"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/ctl/pins"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/feed/webhook"
	"example.com/atm/internal/durable"
	"example.com/atm/monitor"
	"example.com/atm/teller/replay"
	"github.com/gofrs/flock"
	"github.com/spf13/cobra"
)

// A monitoring is what atmctl monitor was asked for.
type monitoring struct {
	copy, vkey, metrics   string
	alertURL, alertSecret string
	every, silence        time.Duration
	once, goOn            bool
	mirroring
}

// Monitor returns the command that follows a log for good.
func Monitor(env *ctl.Env) *cobra.Command {
	var m monitoring
	cmd := &cobra.Command{
		Use:   "monitor [DIR|URL]",
		Short: "Follow an audit log for good, and raise an alarm when it lies",
		Long: `Follow an audit log, that of --server without an argument. Verify each new checkpoint, that
it extends the one before, and every new entry by the rules of the bank: sums, versions,
limits, holds, mandates, standing orders, who owned what, and which roles were given. A copy
of the log is kept, from which the next start goes on, and which "audit verify" verifies.

With --mirror-listen the copy is served as a mirror, which cosigns what it has.

An alarm is printed, sent to --alert-url, and ends the command with its code, unless
--keep-going is given: 10 to 14 as in "audit verify", 16 an entry that the rules do not
confirm.`,
		Args: exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			where := strings.TrimSuffix(env.Server, "/") + "/audit"
			if len(args) == 1 {
				where = args[0]
			}
			if m.every < time.Second || m.silence < 0 {
				return exit.Usagef("--every is a second or more, and --max-age is not negative")
			}
			if err := m.check(); err != nil {
				return err
			}
			return m.run(cmd.Context(), env, where)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&m.copy, "copy", "./atm-monitor", "`folder` with a folder for the copy of "+
		"each log")
	flags.StringVar(&m.vkey, "vkey", "", vkeyHelp)
	flags.DurationVar(&m.every, "every", 5*time.Second, "how often the log is looked at")
	flags.DurationVar(&m.silence, "max-age", 15*time.Minute, "how old the newest entry may be: "+
		"a server records a heartbeat every ten minutes; 0 for any age")
	flags.StringVar(&m.alertURL, "alert-url", "", "`URL` that alarms are sent to, signed as "+
		"Standard Webhooks say")
	flags.StringVar(&m.alertSecret, "alert-secret-file", "", "`file` with the secret that alarms "+
		"are signed with, made when missing")
	flags.StringVar(&m.metrics, "metrics-file", "", "`file` that metrics are written to, for "+
		"the textfile collector of Prometheus")
	flags.BoolVar(&m.once, "once", false, "look once and end")
	flags.BoolVar(&m.goOn, "keep-going", false, "go on after an alarm")
	m.addFlags(flags)
	return withArchive(env, cmd)
}

// run looks at a log until ctx is done or there is an alarm.
func (m *monitoring) run(ctx context.Context, env *ctl.Env, where string) error {
	files, err := filesAt(ctx, env, where)
	if err != nil {
		return err
	}
	alert, err := m.alerts()
	if err != nil {
		return err
	}
	origin, err := m.origin(ctx, files)
	if err != nil {
		return ctl.Explain(err)
	}
	keys, err := m.keys(ctx, env, files, origin)
	if err != nil {
		return err
	}
	dir := filepath.Join(m.copy, pins.FileName(origin))
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock := flock.New(dir, flock.SetFlag(os.O_RDONLY))
	if locked, err := lock.TryLock(); err != nil || !locked {
		return errors.Join(fmt.Errorf("%s is in use by another process", dir), err)
	}
	defer lock.Close()
	return m.follow(ctx, env, origin, alert, monitor.Config{
		Files: files, Dir: dir, Keys: keys, Silence: m.silence,
		Log: slog.New(slog.NewTextHandler(env.Stderr, nil)),
		Rules: replay.Rules{
			Permit: daemon.Permit, Issuer: auth.IssuerOf(nameOf(origin)),
		},
	})
}

// origin is the name of the log. A mirror serves its copy also while the log is not reached, so
// that the name in the key has to do.
func (m *monitoring) origin(ctx context.Context, files audit.Files) (string, error) {
	_, at, err := audit.ReadCheckpoint(ctx, files)
	if err == nil || m.listen == "" || m.vkey == "" {
		return at.Origin, err
	}
	text, errKey := ctl.ReadNamed(m.vkey)
	if errKey != nil {
		return "", errKey
	}
	key, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return checkpoint.OriginOf(key)
}

// follow follows a log, and serves its copy if that was asked for.
func (m *monitoring) follow(ctx context.Context, env *ctl.Env, origin string,
	alert func(context.Context, string, []byte) error, cfg monitor.Config,
) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	copies, serve, err := m.mirroring.open(ctx, env, cfg.Dir, origin)
	if err != nil {
		return err
	}
	worst := 0
	cfg.Alarm = func(a monitor.Alarm) {
		if worst == 0 {
			worst = a.Code
		}
		m.tell(ctx, env, origin, a, alert)
	}
	if copies != nil {
		cfg.Copied = copies.Copied
	}
	w, err := monitor.New(cfg)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() {
		err := serve()
		if copies != nil && ctx.Err() == nil {
			env.Warn("the copy is not served any more: " + err.Error())
			stop()
		}
		served <- err
	}()
	err = m.rounds(ctx, env, w, &worst)
	stop()
	if ended := <-served; err == nil {
		return ended
	}
	return err
}

// nameOf is the name of the server of a log: one that took the place of another one has a number
// as well.
func nameOf(origin string) string {
	name, _, _ := strings.Cut(origin, "/")
	return name
}

// rounds looks again and again.
func (m *monitoring) rounds(ctx context.Context, env *ctl.Env, w *monitor.Monitor,
	worst *int,
) error {
	failing, begun := false, false
	for {
		err := w.Round(ctx, time.Now())
		if ctx.Err() != nil {
			return nil
		}
		m.measure(env, w, *worst, err)
		switch {
		case *worst != 0 && !m.goOn:
			return ctl.Silent(*worst)
		case err != nil && m.once:
			return ctl.Explain(err)
		case m.once && *worst != 0:
			return ctl.Silent(*worst)
		case m.once:
			return env.Tell(map[string]any{"ok": true, "code": 0, "size": w.Size()},
				"%d entries are what the rules say, the newest of %s\n", w.Size(),
				w.Newest().Format(time.RFC3339))
		case err != nil && !failing:
			env.Warn("the log cannot be looked at: " + err.Error())
		case err == nil && failing:
			env.Warn("the log can be looked at again")
		}
		if failing = err != nil; !failing && !begun && *worst == 0 && !env.Quiet {
			begun = true
			fmt.Fprintf(env.Stderr, "%d entries are what the rules say; following\n", w.Size())
		}
		select {
		case <-time.After(m.every):
		case <-ctx.Done():
			return nil
		}
	}
}

// keys are those that the log may be signed by: of a file, of the pin, or, with a warning, the one
// beside the log.
func (m *monitoring) keys(ctx context.Context, env *ctl.Env, files audit.Files, origin string) (
	[]string, error,
) {
	if m.vkey != "" {
		text, err := ctl.ReadNamed(m.vkey)
		return strings.Fields(string(text)), err
	}
	pin, err := pins.Find(origin)
	var none *exit.Error
	switch {
	case err == nil && len(pin.Keys) > 0:
		return pin.Keys, nil
	case err != nil && !errors.As(err, &none): // there is one, which nobody can read
		return nil, coded(audit.CannotVerify, err)
	}
	key, err := audit.ReadKey(ctx, files)
	if err != nil {
		return nil, ctl.Explain(err)
	}
	env.Warn("the key beside the log was used: it proves nothing against somebody who could " +
		"replace both; name one with --vkey")
	return strings.Fields(key), nil
}

// An alarmed is an alarm as it is printed and sent.
type alarmed struct {
	OK     bool   `json:"ok"`
	Origin string `json:"origin"`
	monitor.Alarm
}

// tell prints an alarm, and sends it.
func (m *monitoring) tell(ctx context.Context, env *ctl.Env, origin string, a monitor.Alarm,
	alert func(context.Context, string, []byte) error,
) {
	said := alarmed{false, origin, a}
	at := ""
	if a.Index >= 0 {
		at = fmt.Sprintf(" at entry %d", a.Index)
	}
	if err := env.Tell(said, "ALARM %d%s: %s\n", a.Code, at, a.Sentence); err != nil {
		env.Warn(err.Error())
	}
	if alert == nil {
		return
	}
	body, err := json.Marshal(said)
	if err == nil {
		sum := sha256.Sum256(body)
		err = alert(ctx, fmt.Sprintf("alarm-%x", sum[:8]), body)
	}
	if err != nil {
		env.Warn("the alarm could not be sent: " + err.Error())
	}
}

// anywhere is where alarms may be sent to: the person who names the URL has the machine.
var anywhere = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"),
}

// alerts returns what sends an alarm; nil when none are sent.
func (m *monitoring) alerts() (func(context.Context, string, []byte) error, error) {
	if (m.alertURL == "") != (m.alertSecret == "") {
		return nil, exit.Usagef("--alert-url and --alert-secret-file come together")
	}
	if m.alertURL == "" {
		return nil, nil
	}
	if err := webhook.CheckURL(m.alertURL, anywhere...); err != nil {
		return nil, exit.Usagef("--alert-url: %w", err)
	}
	secret, err := readAlertSecret(m.alertSecret)
	if err != nil {
		return nil, err
	}
	seed := sha256.Sum256(append([]byte("atm monitor "), secret[:]...))
	key, sender := webhook.NewKey(secret, seed), webhook.NewSender(webhook.Config{Allow: anywhere})
	return func(ctx context.Context, id string, body []byte) error {
		_, err := sender.Send(ctx, m.alertURL, webhook.Message{
			ID: id, Time: time.Now(), Body: body,
		}, key)
		return err
	}, nil
}

// readAlertSecret reads a secret of 32 bytes, or makes one.
func readAlertSecret(path string) (secret [32]byte, err error) {
	text, err := durable.ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		rand.Read(secret[:]) // never returns an error
		return secret, durable.CreateFile(path, []byte("whsec_"+
			base64.StdEncoding.EncodeToString(secret[:])+"\n"), 0o600)
	}
	if err != nil {
		return secret, err
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "whsec_")
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(decoded) != len(secret) {
		return secret, exit.Usagef("--alert-secret-file %s is not whsec_ and 32 bytes in base64",
			path)
	}
	return [32]byte(decoded), nil
}

// measure writes the metrics.
func (m *monitoring) measure(env *ctl.Env, w *monitor.Monitor, worst int, failed error) {
	if m.metrics == "" {
		return
	}
	up := 1
	if failed != nil {
		up = 0
	}
	text := fmt.Sprintf(`# TYPE atm_monitor_up gauge
atm_monitor_up %d
# TYPE atm_monitor_alarm gauge
atm_monitor_alarm %d
# TYPE atm_monitor_entries gauge
atm_monitor_entries %d
# TYPE atm_monitor_newest_timestamp_seconds gauge
atm_monitor_newest_timestamp_seconds %d
`, up, worst, w.Size(), max(w.Newest().Unix(), 0))
	if err := durable.WriteFile(m.metrics, []byte(text), 0o644); err != nil {
		env.Warn("the metrics: " + err.Error())
	}
}
