package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/ctl/pins"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/vault/feeds"
	"github.com/spf13/cobra"
)

func statusCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the state of a running server",
		Long: `Show the state of a running server: its version and uptime, when its certificates and yours
end, the size of its audit log and how far that is published, cosigned by witnesses and
pinned here, how far it is archived and what is kept here, the free space on its disk, its
store and replicas, the pending holds, the standing orders whose payment is due and has no
outcome yet, the subscriptions to the event feed and those that are not delivered, and when
a backup was sent.

Operators and auditors may ask; the audit log gets an entry, as for everything that they
do. "atmctl doctor" says what needs repair.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := askStatus(cmd.Context(), env)
			if err != nil {
				return err
			}
			if env.IsJSON() {
				return env.WriteJSON(s)
			}
			return env.Table([]string{"what", "state"}, s.rows(time.Now()))
		},
	}
}

// A status is the state of a server, and of the caller's credentials there.
type status struct {
	statusProgram

	Parts        []statusPart `json:"parts"`
	You          statusCaller `json:"you"`
	Certificates []statusCert `json:"certificates"` // yours first, when you signed in by one
	Log          statusLog    `json:"log"`
	Disk         struct {
		Free    int64 `json:"free"`    // bytes
		Reserve int64 `json:"reserve"` // bytes; below it, the server stores nothing
	} `json:"disk"`
	Store struct {
		Kind     string   `json:"kind"`     // bolt or postgres
		Replicas []string `json:"replicas"` // servers on one database
	} `json:"store"`
	// pending; nil when there are too many accounts to count them
	Holds  *int64        `json:"holds"`
	Backup *statusBackup `json:"backup"` // nil for none
	Orders *statusOrders `json:"orders"` // nil when there are too many to count them
	Feed   statusFeed    `json:"feed"`
	Clock  string        `json:"clock"`
}

// statusFeed are the subscriptions to the event feed.
type statusFeed struct {
	Subscriptions int64 `json:"subscriptions"`
	Failing       int64 `json:"failing"` // cannot be delivered at the moment
	Paused        int64 `json:"paused"`
	Stopped       int64 `json:"stopped"`
}

// statusOrders are the standing orders whose payment is due and has no outcome yet.
type statusOrders struct {
	Waiting int64  `json:"waiting"`
	Since   string `json:"since"` // due date of the first one; empty for none
}

// A statusProgram is which program runs, and since when.
type statusProgram struct {
	Server   string `json:"server"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Started  string `json:"started"`
	Uptime   int64  `json:"uptime"` // seconds
}

type statusPart struct {
	Part   string `json:"part"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason"`
}

type statusCaller struct {
	Subject string   `json:"subject"`
	Roles   []string `json:"roles"`
	Method  string   `json:"method"`
}

type statusCert struct {
	Certificate string `json:"certificate"` // "yours", or as the metrics call it
	NotAfter    string `json:"not_after"`
	Days        int    `json:"days"` // whole days left
}

type statusLog struct {
	Origin    string     `json:"origin"`
	Entries   int64      `json:"entries"`
	Published int64      `json:"published"`
	Witnessed *int64     `json:"witnessed"` // nil without witnesses
	Pinned    *statusPin `json:"pinned"`    // nil for none
	Watched   string     `json:"watched"`   // when somebody outside saw it last
	Unwatched bool       `json:"unwatched"` // nobody has for a day
	Base      int64      `json:"base"`      // index of the first entry that the server has itself

	InModule bool `json:"key_in_module"` // its Ed25519 key is in a PKCS #11 module

	Archive *statusArchive `json:"archive"` // nil for none
}

// A statusArchive is how far the audit log is archived.
type statusArchive struct {
	Location string `json:"location"`
	Entries  int64  `json:"entries"` // in the newest chapter
	Chapter  string `json:"chapter"` // when that was taken; empty for none
	Lags     bool   `json:"lags"`    // no chapter for three intervals
	Reason   string `json:"reason"`  // why the last try failed; empty if it did not
	Keep     int64  `json:"keep"`    // the window in seconds; 0 for ever
}

type statusPin struct {
	Size  int64  `json:"size"`
	Saved string `json:"saved"`
}

// A statusBackup is the entry of a backup that the server sent.
type statusBackup struct {
	Index   int64  `json:"index"`
	Time    string `json:"time"`
	Subject string `json:"subject"`
}

func askStatus(ctx context.Context, env *ctl.Env) (*status, error) {
	result, err := env.Call(ctx, string(atm.ServerStatus))
	if err != nil {
		return nil, err
	}
	now, r := time.Now(), field{result}
	s := &status{
		statusProgram: statusProgram{
			Server: env.Server, Name: r.text("name"), Version: r.text("version"),
			Revision: r.text("revision"), Modified: r.truth("modified"), Go: r.text("go"),
			Platform: r.text("platform"), Started: r.text("started"), Uptime: r.number("uptime"),
		},
		Clock: r.text("clock"),
	}
	for _, part := range r.list("parts") {
		s.Parts = append(s.Parts, statusPart{
			part.text("part"), part.truth("ready"),
			part.text("reason"),
		})
	}
	caller := r.in("caller")
	s.You = statusCaller{caller.text("subject"), caller.texts("roles"), caller.text("method")}
	if mine, ok := ownCertificate(env, now); ok {
		s.Certificates = append(s.Certificates, mine)
	}
	for _, c := range r.list("certificates") {
		end, err := time.Parse(time.RFC3339, c.text("not_after"))
		if err != nil {
			return nil, fmt.Errorf("the server's answer: %w", err)
		}
		s.Certificates = append(s.Certificates, certificateEnds(c.text("certificate"), end, now))
	}
	if s.Log, err = logStatus(r.in("log")); err != nil {
		return nil, err
	}
	s.Disk.Free, s.Disk.Reserve = r.in("disk").number("free"), r.in("disk").number("reserve")
	s.Store.Kind, s.Store.Replicas = r.in("store").text("kind"), r.in("store").texts("replicas")
	if holds := r.in("holds"); holds.truth("counted") {
		pending := holds.number("pending")
		s.Holds = &pending
	}
	if orders := r.in("orders"); orders.truth("counted") {
		s.Orders = &statusOrders{orders.number("waiting"), orders.text("since")}
	}
	feed := r.in("feed")
	s.Feed = statusFeed{
		feed.number("subscriptions"), feed.number("failing"), feed.number("paused"),
		feed.number("stopped"),
	}
	if b := r.in("backup"); b.truth("known") {
		s.Backup = &statusBackup{b.number("index"), b.text("time"), b.text("subject")}
	}
	return s, nil
}

func logStatus(r field) (statusLog, error) {
	l := statusLog{
		Origin: r.text("origin"), Entries: r.number("entries"), Published: r.number("published"),
		Watched: r.text("watched"), Unwatched: r.truth("unwatched"), Base: r.number("base"),
		InModule: r.truth("key_in_module"),
	}
	if a := r.in("archive"); a.truth("used") {
		l.Archive = &statusArchive{
			a.text("location"), a.number("entries"), a.text("chapter"), a.truth("lags"),
			a.text("reason"), a.number("keep"),
		}
	}
	if r.truth("witnesses") {
		witnessed := r.number("witnessed")
		l.Witnessed = &witnessed
	}
	path, err := pins.Path(l.Origin)
	if err != nil {
		return l, err
	}
	pin, err := pins.Read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return l, err
	}
	l.Pinned = &statusPin{pin.Size, pin.Saved}
	return l, nil
}

// ownCertificate returns the certificate that the program signs in with.
func ownCertificate(env *ctl.Env, now time.Time) (statusCert, bool) {
	u, err := url.Parse(env.Server)
	if err != nil {
		return statusCert{}, false
	}
	files, ok := env.Way.Certificate(u.Hostname(), ctl.DefaultCredentials)
	if !ok {
		return statusCert{}, false
	}
	text, err := os.ReadFile(files.Cert)
	if err != nil {
		return statusCert{}, false
	}
	cert, err := certs.ParseCertificate(text)
	if err != nil {
		return statusCert{}, false
	}
	return certificateEnds("yours", cert.NotAfter, now), true
}

func certificateEnds(name string, end, now time.Time) statusCert {
	return statusCert{name, end.UTC().Format(time.RFC3339), int(end.Sub(now) / (24 * time.Hour))}
}

// rows returns the status as people read it.
func (s *status) rows(now time.Time) [][]string {
	program := s.Version + ", revision " + s.Revision
	if s.Modified {
		program += " modified"
	}
	rows := [][]string{
		{"server", s.Server + ", " + s.Name},
		{"version", program + ", " + s.Go + ", " + s.Platform},
		{"uptime", (time.Duration(s.Uptime) * time.Second).String() + ", since " + s.Started},
	}
	for _, part := range s.Parts {
		state := "ready"
		if !part.Ready {
			state = "not ready: " + part.Reason
		}
		rows = append(rows, []string{part.Part, state})
	}
	you := s.You.Subject + ", " + strings.Join(s.You.Roles, " ") + ", by " + s.You.Method
	rows = append(rows, []string{"you", you})
	for _, c := range s.Certificates {
		name := "certificate " + c.Certificate
		switch c.Certificate {
		case "yours":
			name = "your certificate"
		case "root", "servers", "clients":
			name = "authority " + c.Certificate
		}
		rows = append(rows, []string{name, days(c.Days) + " left, until " + c.NotAfter})
	}
	rows = append(rows,
		[]string{"log", fmt.Sprintf("%d entries, %d published, %s",
			s.Log.Entries, s.Log.Published, s.Log.Origin)},
		[]string{"signed by", s.Log.signedBy()},
		[]string{"witnessed", s.Log.witnessed()},
		[]string{"seen from outside", s.Log.watched(now)},
		[]string{"pinned here", s.Log.pinned(now)},
		[]string{"archive", s.Log.Archive.archived(now)},
		[]string{"kept here", s.Log.kept()},
		[]string{"disk free", bytesText(s.Disk.Free) + ", " + bytesText(s.Disk.Reserve) +
			" in reserve"},
		[]string{"store", s.store()},
		[]string{"pending holds", s.holds()},
		[]string{"standing orders", s.orders(now)},
		[]string{"event feed", s.feed()},
		[]string{"last backup", s.backup(now)},
		[]string{"clock", s.Clock},
	)
	return rows
}

func (l *statusLog) signedBy() string {
	if l.InModule {
		return "a key in a PKCS #11 module"
	}
	return "a key in the data folder"
}

func (l *statusLog) witnessed() string {
	switch {
	case l.Witnessed == nil:
		return "no witnesses are asked"
	case *l.Witnessed == 0:
		return "not yet since the start"
	}
	return strconv.FormatInt(*l.Witnessed, 10) + " entries"
}

func (l *statusLog) watched(now time.Time) string {
	if l.Unwatched {
		return "unwatched: last " + ago(l.Watched, now) + "; see atmctl monitor"
	}
	return ago(l.Watched, now)
}

func (l *statusLog) pinned(now time.Time) string {
	if l.Pinned == nil {
		return "no"
	}
	return strconv.FormatInt(l.Pinned.Size, 10) + " entries, " + ago(l.Pinned.Saved, now)
}

func (a *statusArchive) archived(now time.Time) string {
	if a == nil {
		return "none: the log is here alone"
	}
	state := "no chapter yet"
	if a.Chapter != "" {
		state = fmt.Sprintf("%d entries, %s", a.Entries, ago(a.Chapter, now))
	}
	if a.Lags {
		state = "lags: " + state
	}
	if a.Reason != "" {
		state += "; the last try failed: " + a.Reason
	}
	return state + ", in " + a.Location
}

func (l *statusLog) kept() string {
	text := "every entry"
	if l.Base > 0 {
		text = fmt.Sprintf("entries from %d on", l.Base)
	}
	switch {
	case l.Archive == nil && l.Base > 0:
		text += "; start the server with the archive that has the others"
	case l.Archive != nil && l.Archive.Keep > 0:
		text += ", and those of the last " + days(int(l.Archive.Keep/(24*60*60))) + " at least"
	}
	return text
}

func (s *status) store() string {
	switch n := len(s.Store.Replicas); {
	case n == 0: // the store is in the data folder
		return s.Store.Kind
	case n == 1:
		return s.Store.Kind + ", 1 replica runs: " + s.Store.Replicas[0]
	default:
		names := strings.Join(s.Store.Replicas, ", ")
		return fmt.Sprintf("%s, %d replicas run: %s", s.Store.Kind, n, names)
	}
}

func (s *status) holds() string {
	if s.Holds == nil {
		return "not counted: there are too many accounts"
	}
	return strconv.FormatInt(*s.Holds, 10)
}

func (s *status) orders(now time.Time) string {
	switch {
	case s.Orders == nil:
		return "not counted: there are too many"
	case s.Orders.Waiting == 0:
		return "none waits"
	}
	return fmt.Sprintf("%d wait for money or for their turn, the first was due %s",
		s.Orders.Waiting, ago(s.Orders.Since, now))
}

func (s *status) feed() string {
	return feeds.Summary{
		All: s.Feed.Subscriptions, Failing: s.Feed.Failing, Paused: s.Feed.Paused,
		Stopped: s.Feed.Stopped,
	}.String()
}

func (s *status) backup(now time.Time) string {
	if s.Backup == nil {
		return "none is in the log"
	}
	when := ago(s.Backup.Time, now)
	return fmt.Sprintf("sent to %s, %s, entry %d", s.Backup.Subject, when, s.Backup.Index)
}

func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return strconv.Itoa(n) + " days"
}

// ago returns how long ago a time in RFC 3339 was.
func ago(at string, now time.Time) string {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return at
	}
	d := max(0, now.Sub(t))
	if d >= 48*time.Hour {
		return days(int(d/(24*time.Hour))) + " ago (" + at + ")"
	}
	return d.Truncate(time.Second).String() + " ago (" + at + ")"
}

// bytesText returns a number of bytes as people read it.
func bytesText(n int64) string {
	const step = 1000
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	size, unit := float64(n), 0
	for size >= step && unit < len(units)-1 {
		size, unit = size/step, unit+1
	}
	if unit == 0 {
		return strconv.FormatInt(n, 10) + " B"
	}
	return strconv.FormatFloat(size, 'f', 1, 64) + " " + units[unit]
}

// A field is a value of a server's answer. A value that is missing or of another type reads as
// empty.
type field struct{ value any }

func (f field) in(name string) field {
	members, _ := f.value.(map[string]any)
	return field{members[name]}
}

func (f field) text(name string) string {
	text, _ := f.in(name).value.(string)
	return text
}

func (f field) truth(name string) bool {
	truth, _ := f.in(name).value.(bool)
	return truth
}

// number reads a whole number; one of more than 32 bits travels as a string.
func (f field) number(name string) int64 {
	switch v := f.in(name).value.(type) {
	case int64:
		return v
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

func (f field) list(name string) []field {
	items, _ := f.in(name).value.([]any)
	fields := make([]field, len(items))
	for i, item := range items {
		fields[i] = field{item}
	}
	return fields
}

func (f field) texts(name string) []string {
	texts := []string{}
	for _, item := range f.list(name) {
		text, _ := item.value.(string)
		texts = append(texts, text)
	}
	return texts
}
