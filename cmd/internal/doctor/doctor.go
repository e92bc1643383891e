// Package doctor examines a data folder and reports what has to be repaired.
//
// It changes nothing. Each finding that asks for a repair names the command for it. It also
// reports what it could not examine: the vault of a running server is open in that server,
// whose metrics report its state.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/machine"
)

// A Severity is the urgency of a finding.
type Severity string

// The severities.
const (
	OK       Severity = "ok"       // everything is in order
	Note     Severity = "note"     // information, or something that could not be examined
	Warning  Severity = "warning"  // to be repaired within days
	Critical Severity = "critical" // the server does not work, or will stop working soon
)

// A Finding is the result of a check.
type Finding struct {
	Check    string   `json:"check"` // subject of the check
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Mend     string   `json:"mend,omitempty"`  // the command that repairs it
	Alert    string   `json:"alert,omitempty"` // alert in deploy/prometheus/alerts.yml for the same condition
}

// Asks reports whether the finding asks for a repair.
func (f Finding) Asks() bool { return f.Severity == Warning || f.Severity == Critical }

// Options are the folder to examine and the thresholds. Data is required.
type Options struct {
	Data       string                 // the folder
	Passphrase func() ([]byte, error) // as in daemon.Options
	Reserve    uint64                 // bytes that the server keeps free; 0 means 64 MiB
	LowDisk    uint64                 // free bytes below which a check warns; 0 means 1 GB

	Now   func() time.Time             // nil means time.Now
	Clock func() (machine.Clock, bool) // nil means machine.ReadClock
}

// The alerts whose conditions can be seen in a folder, and those that need the metrics of a
// running server.
var (
	seenAlerts = []string{
		"AtmDown", "AtmDiskFillsUp", "AtmCertificateEnds", "AtmClockNotSynchronised", "AtmNotReady",
		"AtmLogNotPublished", "AtmLogWentBack", "AtmArchiveFails",
	}
	unseenAlerts = []string{
		"AtmOutcomeUnknown", "AtmInternal", "AtmUnavailable", "AtmSlow", "AtmGuessing",
		"AtmRecordsChanged", "AtmUnwatched", "AtmArchiveLags", "AtmFeedFailing", "AtmFeedStopped",
		"AtmFeedBehind",
	}
)

// Alerts are the alerts that findings may name, and those whose conditions cannot be seen in a
// folder.
func Alerts() (seen, unseen []string) {
	return slices.Clone(seenAlerts), slices.Clone(unseenAlerts)
}

// exam is one examination of a folder.
type exam struct {
	opts    Options
	dir     *datadir.Dir
	now     time.Time
	running bool // a process has locked the folder

	check    string // the current check
	findings []Finding
}

// Examine examines a folder. While it examines the folder of a stopped server, no server can
// start on it.
func Examine(ctx context.Context, opts Options) []Finding {
	opts = opts.withDefaults()
	e := &exam{opts: opts, now: opts.Now()}
	if !e.open() {
		return e.findings
	}
	defer e.close()
	e.look("permissions", "nobody else may use what is in it", e.permissions)
	e.look("owner", "everything belongs to one user", e.owners)
	e.look("leftovers", "", func() { e.leftovers(ctx) })
	e.look("disk", "", e.disk)
	e.look("clock", "", e.clock)
	e.look("keys", "the keys are there, and those of this server", e.keys)
	e.look("certificates", "none ends in the next three weeks", e.certificates)
	e.look("vault", "", func() { e.vault(ctx) })
	e.look("archive", "", func() { e.archive(ctx) })
	e.look("alerts", "", e.alerts)
	return e.findings
}

func (o Options) withDefaults() Options {
	if o.Reserve == 0 {
		o.Reserve = 64 << 20
	}
	if o.LowDisk == 0 {
		o.LowDisk = 1e9
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Clock == nil {
		o.Clock = machine.ReadClock
	}
	return o
}

// look runs a check. If the check finds nothing to repair, look reports good.
func (e *exam) look(check, good string, do func()) {
	e.check = check
	before := len(e.findings)
	do()
	if good != "" && !slices.ContainsFunc(e.findings[before:], Finding.Asks) {
		well := Finding{Check: check, Severity: OK, Text: good}
		e.findings = slices.Insert(e.findings, before, well)
	}
}

func (e *exam) tell(s Severity, mend, format string, args ...any) *Finding {
	f := Finding{Check: e.check, Severity: s, Mend: mend, Text: fmt.Sprintf(format, args...)}
	e.findings = append(e.findings, f)
	return &e.findings[len(e.findings)-1]
}

// start is the command that starts a server on the folder.
func (e *exam) start() string { return "atmserver --data " + quoted(e.opts.Data) }

// open determines what the folder is, and whether a server has locked it.
func (e *exam) open() bool {
	e.check = "folder"
	var complete bool
	var err error
	e.dir, complete, err = datadir.Look(e.opts.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.tell(Critical, e.start(), "there is no %s", e.opts.Data)
		return false
	case errors.Is(err, fs.ErrPermission):
		e.tell(Critical, "sudo atmctl doctor --data "+quoted(e.opts.Data),
			"%v: look as the user it belongs to, or as root", err)
		return false
	case err != nil:
		e.tell(Critical, restore, "%v", err)
		return false
	}
	switch err := e.dir.Lock(); {
	case err == nil:
	case errors.Is(err, datadir.ErrInUse):
		e.running = true
	default:
		e.tell(Critical, "", "%v", err)
		return false
	}
	e.folder(complete)
	return true
}

func (e *exam) close() {
	if !e.running {
		e.dir.Close()
	}
}

// folder reports whether the folder is complete.
func (e *exam) folder(complete bool) {
	if !complete && !e.running {
		e.tell(Warning, e.start(), "its init was interrupted; the next start completes it")
		return
	}
	switch plan, err := e.dir.Plan().Read(); {
	case err != nil:
		e.tell(Critical, "atmctl audit recover --data "+quoted(e.opts.Data), "%v", err)
	case plan != nil:
		e.tell(Critical, "atmctl audit recover --data "+quoted(e.opts.Data), "%v", datadir.ErrPlan)
	}
	missing := e.dir.Missing()
	for _, file := range missing {
		mend := e.putBack(e.inside(file))
		if file == e.dir.Vault() {
			mend = restore
		}
		e.tell(Critical, mend, "%s is missing; it is not made anew: take it from a backup", file)
	}
	state := "no server runs on it"
	if e.running {
		state = "another process, such as a server, has it"
	}
	if len(missing) == 0 {
		e.tell(OK, "", "%s is the data folder of %s; %s", e.dir.Root, e.dir.Config.Name, state)
	}
}

// disk reports the free space of the disk.
func (e *exam) disk() {
	const mend = "df -h "
	switch free, err := machine.Free(e.dir.Root); {
	case errors.Is(err, machine.ErrNoServer):
		e.tell(Note, "", "how much is free cannot be told on this system")
	case err != nil:
		e.tell(Critical, mend+quoted(e.dir.Root), "%v", err)
	case free < e.opts.Reserve:
		e.tell(Critical, mend+quoted(e.dir.Root),
			"%d bytes are free, fewer than the %d in reserve: every operation is UNAVAILABLE; "+
				"free some",
			free, e.opts.Reserve).Alert = "AtmNotReady"
	case free < e.opts.LowDisk:
		e.tell(Warning, mend+quoted(e.dir.Root),
			"%d bytes are free; free some", free).Alert = "AtmDiskFillsUp"
	default:
		e.tell(OK, "", "%d bytes are free", free)
	}
}

// clock reports whether the machine's clock is synchronised.
func (e *exam) clock() {
	switch clock, ok := e.opts.Clock(); {
	case !ok:
		e.tell(Note, "", "the kernel does not say whether the clock is kept right")
	case !clock.Synchronised:
		e.tell(Warning, "timedatectl set-ntp true",
			"nothing keeps the clock of this machine right").Alert = "AtmClockNotSynchronised"
	default:
		e.tell(OK, "", "it is synchronised, to %s by the kernel's estimate", clock.MaxError)
	}
}

// leftovers lists unfinished files of a killed process.
func (e *exam) leftovers(ctx context.Context) {
	if e.running {
		e.tell(Note, "",
			"what the process that has the folder works on cannot be told from what is left over")
		return
	}
	before := len(e.findings)
	left, err := e.dir.Leftovers()
	if err != nil {
		e.tell(Warning, "", "%v", err)
	}
	for _, path := range left {
		e.tell(Warning, e.start(), "%s was left unfinished; the next start removes it", path)
	}
	tiles, err := e.dir.LeftTiles(ctx)
	if err != nil {
		e.tell(Warning, "", "%v", err)
	}
	if tiles > 0 {
		e.tell(Warning, e.start(),
			"%d files of the audit log were left unfinished; the next start removes them", tiles)
	}
	for _, name := range []string{"servers.crt", "servers.key", "clients.crt", "clients.key"} {
		path := "ca/" + name + ".new"
		if present(e.dir.Path(path)) {
			e.tell(Warning, e.start(),
				"%s is of a rollover that was interrupted; the next start completes "+
					"it, or drops it", path)
		}
	}
	if present(e.dir.AuditRotation()) {
		e.tell(Warning, e.start(),
			"the entry of a rotation of the log's key is not made yet; the next start makes it")
	}
	parent, name := filepath.Split(absolute(e.dir.Root))
	staged, _ := filepath.Glob(filepath.Join(escaped(parent), "."+escaped(name)+"-restoring-*"))
	for _, path := range staged {
		e.tell(Warning, "rm -r "+quoted(path),
			"%s is of a restore that was killed, if none runs now", path)
	}
	if len(e.findings) == before {
		e.tell(OK, "", "nothing was left unfinished")
	}
}

// alerts reports the alerts that Prometheus would fire.
func (e *exam) alerts() {
	var firing []string
	for _, f := range e.findings {
		if f.Alert != "" && !slices.Contains(firing, f.Alert) {
			firing = append(firing, f.Alert)
		}
	}
	if !e.running {
		e.tell(Note, e.start(), "no server runs: AtmDown fires where one should").Alert = "AtmDown"
	}
	if len(firing) > 0 {
		e.tell(Note, "", "would fire for what is said above: %s", strings.Join(firing, ", "))
	}
	e.tell(Note, "curl -s http://127.0.0.1:9001/metrics",
		"not to be seen in a folder: %s; ask the metrics of the server",
		strings.Join(unseenAlerts, ", "))
}
