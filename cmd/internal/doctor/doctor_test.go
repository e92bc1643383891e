package doctor_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/doctor"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/internal/machine"
	"example.com/atm/internal/needs"
	bolt "go.etcd.io/bbolt"
)

// examine examines a folder, and makes sure that doctor changes nothing.
func examine(t *testing.T, opts doctor.Options) []doctor.Finding {
	t.Helper()
	if opts.Clock == nil {
		opts.Clock = synchronised
	}
	before := state(t, opts.Data)
	findings := doctor.Examine(t.Context(), opts)
	if state(t, opts.Data) != before {
		t.Error("the folder was changed by being looked at")
	}
	return findings
}

func asking(findings []doctor.Finding) []doctor.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f doctor.Finding) bool {
		return !f.Asks()
	})
}

func TestNothingIsFoundInASoundFolder(t *testing.T) {
	data := fresh(t)
	serve(t, data)
	findings := examine(t, doctor.Options{Data: data})
	if wrong := asking(findings); len(wrong) > 0 {
		t.Errorf("%+v", wrong)
	}
	for _, check := range []string{
		"folder", "permissions", "owner", "leftovers", "disk", "clock",
		"keys", "certificates", "vault", "log", "archive",
	} {
		if !slices.ContainsFunc(findings, func(f doctor.Finding) bool {
			return f.Check == check && f.Severity == doctor.OK
		}) {
			t.Errorf("nothing says that the %s is well: %+v", check, findings)
		}
	}
}

// TestEachFaultIsNamed plants one fault at a time in a sound folder.
func TestEachFaultIsNamed(t *testing.T) {
	sound := fresh(t)
	chmod := func(name string, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			if err := os.Chmod(filepath.Join(data, name), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name string, content ...byte) func(*testing.T, string) {
		return func(t *testing.T, data string) { write(t, filepath.Join(data, name), content) }
	}
	without := func(name string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			if err := os.Remove(filepath.Join(data, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	auditKey := func(origin string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			skey, _, err := checkpoint.GenerateKey(origin)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(data, "keys", "audit.key"), []byte(skey+"\n"))
		}
	}
	key := func(name string) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			made, err := certs.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			text, err := certs.EncodeKey(made)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(data, name), text)
		}
	}
	type fault struct {
		name     string
		plant    func(*testing.T, string)
		opts     doctor.Options
		check    string
		severity doctor.Severity
		says     string
		mend     string
		alert    string
	}
	days := func(n int) doctor.Options {
		return doctor.Options{Now: func() time.Time {
			return time.Now().Add(time.Duration(n) * 24 * time.Hour)
		}}
	}
	faults := []fault{
		{
			name: "folder open", plant: chmod(".", 0o750), check: "permissions",
			severity: doctor.Critical, says: "(mode 0750)", mend: "chmod 700 ",
		},
		{
			name: "vault writable", plant: chmod("vault.db", 0o662), check: "permissions",
			severity: doctor.Warning, says: "vault.db may be changed", mend: "chmod 600 ",
		},
		{
			name: "owner", plant: func(t *testing.T, data string) {
				needs.Root(t)
				if err := os.Chown(filepath.Join(data, "keys", "audit.key"), 12345,
					-1); err != nil {
					t.Fatal(err)
				}
			}, check: "owner", severity: doctor.Critical, says: "keys/audit.key",
			mend: "chown -R --reference=",
		},

		{
			name: "temporary key", plant: file("keys/.tmp-123"), check: "leftovers",
			severity: doctor.Warning, says: "keys/.tmp-123", mend: "atmserver --data ",
		},
		{
			name: "compaction", plant: file("vault.db.compact"), check: "leftovers",
			severity: doctor.Warning, says: "vault.db.compact", mend: "atmserver --data ",
		},
		{
			name: "backup", plant: func(t *testing.T, data string) {
				if err := os.Mkdir(filepath.Join(data, ".backup-1"), 0o700); err != nil {
					t.Fatal(err)
				}
			}, check: "leftovers", severity: doctor.Warning, says: ".backup-1",
			mend: "atmserver --data ",
		},
		{
			name: "tile", plant: file("audit/tile/0/.tmp-9"), check: "leftovers",
			severity: doctor.Warning, says: "1 files of the audit log", mend: "atmserver --data ",
		},
		{
			name: "rollover", plant: file("ca/clients.key.new"), check: "leftovers",
			severity: doctor.Warning, says: "ca/clients.key.new", mend: "atmserver --data ",
		},
		{
			name: "rotation", plant: file("keys/audit.rotation"), check: "leftovers",
			severity: doctor.Warning, says: "rotation of the log's key", mend: "atmserver --data ",
		},
		{
			name: "restore", plant: func(t *testing.T, data string) {
				if err := os.Mkdir(filepath.Join(filepath.Dir(data), ".atm-data-restoring-7"),
					0o700); err != nil {
					t.Fatal(err)
				}
			}, check: "leftovers", severity: doctor.Warning, says: ".atm-data-restoring-7",
			mend: "rm -r ",
		},
		{
			name: "init", plant: func(t *testing.T, data string) {
				replace(t, filepath.Join(data, "config.toml"), filepath.Join(data, "init.toml"))
			}, check: "folder", severity: doctor.Warning, says: "init was interrupted",
			mend: "atmserver --data ",
		},
		{
			name: "recovery", plant: file("recover.toml"), check: "folder",
			severity: doctor.Critical,
			says:     "was interrupted", mend: "atmctl audit recover --data ",
		},
		{
			name: "write-ahead log", plant: file("vault.db-wal"), check: "vault",
			severity: doctor.Warning, says: "no clean one", mend: "atmserver --data ",
		},

		{
			name: "disk full", opts: doctor.Options{Reserve: 1 << 62}, check: "disk",
			severity: doctor.Critical, says: "UNAVAILABLE", mend: "df -h ", alert: "AtmNotReady",
		},
		{
			name: "disk fills up", opts: doctor.Options{LowDisk: 1 << 62}, check: "disk",
			severity: doctor.Warning, says: "free some", mend: "df -h ", alert: "AtmDiskFillsUp",
		},
		{
			name: "clock", opts: doctor.Options{Clock: func() (machine.Clock, bool) {
				return machine.Clock{}, true
			}},
			check: "clock", severity: doctor.Warning, says: "nothing keeps the clock",
			mend: "timedatectl", alert: "AtmClockNotSynchronised",
		},

		{
			name: "token key", plant: file("keys/token.key", 'x'), check: "keys",
			severity: doctor.Critical, says: "keys/token.key", mend: "tar -xpf BACKUP -C ",
		},
		{
			name: "audit key broken", plant: file("keys/audit.key", 'x'), check: "keys",
			severity: doctor.Critical, says: "keys/audit.key", mend: "keys/audit.key",
		},
		{
			name: "audit key of another log", plant: auditKey("other.example"), check: "keys",
			severity: doctor.Critical, says: "signs for other.example", mend: "keys/audit.key",
		},
		{
			name: "another audit key", plant: auditKey("atm.example"), check: "keys",
			severity: doctor.Critical, says: "audit/checkpoint is not signed by",
			mend: "keys/audit.key",
		},
		{
			name: "another log.vkey", plant: auditKey("atm.example"), check: "keys",
			severity: doctor.Critical, says: "audit/log.vkey is not the public key of",
			mend: "keys/audit.key",
		},
		{
			name: "no log.vkey", plant: without("audit/log.vkey"), check: "keys",
			severity: doctor.Warning, says: "audit/log.vkey is missing", mend: "atmserver --data ",
		},
		{
			name: "no checkpoint", plant: without("audit/checkpoint"), check: "keys",
			severity: doctor.Warning, says: "not published", mend: "atmserver --data ",
			alert: "AtmLogNotPublished",
		},
		{
			name: "another server key", plant: key("tls/server.key"), check: "keys",
			severity: doctor.Critical, says: "tls/server.key", mend: "tls",
		},
		{
			name: "another authority key", plant: key("ca/clients.key"), check: "keys",
			severity: doctor.Critical, says: "ca/clients.key is not the key of", mend: "ca",
		},
		{
			name: "another vault key", plant: func(t *testing.T, data string) {
				text, err := datadir.NewVaultKey().Encode()
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(data, "keys", "vault.key"), text)
			}, check: "vault", severity: doctor.Critical,
			says: "keys/vault.key is not the key of vault.db", mend: "keys/vault.key",
		},
		{
			name: "vault key broken", plant: file("keys/vault.key", 'x'), check: "vault",
			severity: doctor.Critical, says: "keys/vault.key", mend: "keys/vault.key",
		},

		{
			name: "layout", plant: func(t *testing.T, data string) {
				db, err := bolt.Open(filepath.Join(data, "vault.db"), 0o600, nil)
				if err != nil {
					t.Fatal(err)
				}
				err = db.Update(func(tx *bolt.Tx) error {
					return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte{0, 0, 0, 99})
				})
				if err := errors.Join(err, db.Close()); err != nil {
					t.Fatal(err)
				}
			}, check: "vault", severity: doctor.Critical,
			says: "it has layout 00000063; this program knows layout", mend: "atmctl restore",
		},
		{name: "vault cut off", plant: func(t *testing.T, data string) {
			if err := os.Truncate(filepath.Join(data, "vault.db"), 4096); err != nil {
				t.Fatal(err)
			}
		}, check: "vault", severity: doctor.Critical, says: "vault.db", mend: "atmctl restore"},

		{
			name: "client ends", opts: days(350), check: "certificates", severity: doctor.Warning,
			says: "the certificate in clients/operator ends in 1",
			mend: "atmctl cert issue user:operator", alert: "AtmCertificateEnds",
		},
		{
			name: "client ended", opts: days(366), check: "certificates", severity: doctor.Critical,
			says: "the certificate in clients/demo ended", mend: "atmctl cert issue user:demo",
			alert: "AtmCertificateEnds",
		},
		{
			name: "server ends", opts: days(380), check: "certificates", severity: doctor.Warning,
			says: "the server's certificate ends in 1", mend: "atmserver --data ",
			alert: "AtmCertificateEnds",
		},
		{
			name: "authorities end", opts: days(3*365 - 10), check: "certificates",
			severity: doctor.Warning, says: "the authority clients ends",
			mend: "atmctl ca rollover --data ", alert: "AtmCertificateEnds",
		},
		{
			name: "root ended", opts: days(11 * 365), check: "certificates",
			severity: doctor.Critical,
			says:     "the authority root ended", mend: "atmctl ca show --data ",
			alert: "AtmCertificateEnds",
		},
		{
			name: "clock behind", opts: days(-365), check: "certificates",
			severity: doctor.Critical,
			says:     "is the clock right?", mend: "timedatectl",
		},
		{
			name: "client of a stranger", plant: func(t *testing.T, data string) {
				other := fresh(t)
				replace(t, filepath.Join(other, "clients", "demo"), filepath.Join(data, "clients",
					"demo"))
			}, check: "certificates", severity: doctor.Warning,
			says: "clients/demo is of no authority that is trusted",
			mend: "atmctl cert issue user:demo",
		},
		{
			name: "server of a stranger", plant: func(t *testing.T, data string) {
				other := fresh(t)
				replace(t, filepath.Join(other, "tls"), filepath.Join(data, "tls"))
			}, check: "certificates", severity: doctor.Critical,
			says: "is not of the authority in ca/servers.crt", mend: "tls ca",
		},

		{
			name: "vault older than the log", plant: func(t *testing.T, data string) {
				newer := like(t, data)
				serve(t, newer)
				replace(t, filepath.Join(newer, "audit"), filepath.Join(data, "audit"))
			}, check: "log", severity: doctor.Critical, says: "the vault is older",
			mend: "atmctl audit recover --data ", alert: "AtmLogWentBack",
		},
		{
			name: "log behind the vault", plant: func(t *testing.T, data string) {
				newer := like(t, data)
				serve(t, newer)
				replace(t, filepath.Join(newer, "vault.db"), filepath.Join(data, "vault.db"))
			}, check: "log", severity: doctor.Warning, says: "the last 2 entries are not published",
			mend: "atmserver --data ", alert: "AtmLogNotPublished",
		},
		{
			name: "forked", plant: func(t *testing.T, data string) {
				other := like(t, data)
				serve(t, other)
				serve(t, data)
				replace(t, filepath.Join(other, "audit"), filepath.Join(data, "audit"))
			}, check: "log", severity: doctor.Critical, says: "differ at",
			mend: "atmctl audit recover --data ",
		},
	}
	faults = append(faults, fault{
		name:  "archive missing",
		plant: file("archive.toml", []byte("location = \"/nowhere/atm\"\n")...),
		check: "archive", severity: doctor.Warning, says: "/nowhere/atm cannot be used",
		mend: "ls -ld /nowhere/atm", alert: "AtmArchiveFails",
	})
	for _, name := range []string{
		"keys/vault.key", "keys/audit.key", "keys/token.key", "ca/ca.key", "ca/servers.key",
		"ca/clients.key", "tls/server.key",
		"clients/operator/client.key", "clients/demo/client.key",
	} {
		faults = append(faults, fault{
			name: name + " open", plant: chmod(name, 0o640), check: "permissions",
			severity: doctor.Critical,
			says:     name + " may be used by others (mode 0640)", mend: "chmod 600 ",
		})
	}
	for _, name := range []string{
		"vault.db", "keys/vault.key", "keys/audit.key", "keys/token.key", "ca/servers.key",
		"ca/servers.crt",
		"ca/clients.key", "ca/clients.crt", "tls/server.key", "tls/server.crt",
	} {
		faults = append(faults, fault{
			name: name + " missing", plant: without(name), check: "folder",
			severity: doctor.Critical, says: name + " is missing", mend: "BACKUP",
		})
	}
	alerts, _ := doctor.Alerts()
	alerts = slices.DeleteFunc(alerts, func(a string) bool { return a == "AtmDown" })
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.opts.Data = like(t, sound)
			if tt.plant != nil {
				tt.plant(t, tt.opts.Data)
			}
			findings := examine(t, tt.opts)
			if !slices.ContainsFunc(findings, func(f doctor.Finding) bool {
				return f.Check == tt.check && f.Severity == tt.severity && f.Alert == tt.alert &&
					strings.Contains(f.Text, tt.says) && strings.Contains(f.Mend, tt.mend)
			}) {
				t.Errorf("it is not named: %+v", asking(findings))
			}
			for _, f := range asking(findings) {
				if f.Mend == "" {
					t.Errorf("no command mends %+v", f)
				}
			}
		})
		alerts = slices.DeleteFunc(alerts, func(a string) bool { return a == tt.alert })
	}
	if len(alerts) > 0 {
		t.Errorf("no fault fires %q", alerts)
	}
}

func TestWhatIsNoFolderIsSaid(t *testing.T) {
	empty := t.TempDir()
	for data, says := range map[string]string{
		filepath.Join(empty, "nowhere"): "there is no ", empty: "is not a data folder",
	} {
		findings := doctor.Examine(t.Context(), doctor.Options{Data: data})
		if len(findings) != 1 || findings[0].Severity != doctor.Critical ||
			!strings.Contains(findings[0].Text, says) {
			t.Errorf("%s: %+v", data, findings)
		}
	}
}

// TestRunningServerKeepsItsVault examines a folder that a process has locked.
func TestRunningServerKeepsItsVault(t *testing.T) {
	data := fresh(t)
	h := open(t, data)
	defer h.Close()
	findings := doctor.Examine(t.Context(), doctor.Options{Data: data, Clock: synchronised})
	if wrong := asking(findings); len(wrong) > 0 {
		t.Errorf("%+v", wrong)
	}
	if !slices.ContainsFunc(findings, func(f doctor.Finding) bool {
		return f.Check == "vault" && f.Severity == doctor.Note && strings.Contains(f.Text,
			"not looked at")
	}) {
		t.Errorf("nothing says that the vault was not looked at: %+v", findings)
	}
	if slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Alert == "AtmDown" }) {
		t.Error("a server that runs is said to be down")
	}
}

// TestSealedKeyIsNotGuessed examines a folder whose vault key is sealed with a passphrase.
func TestSealedKeyIsNotGuessed(t *testing.T) {
	data := fresh(t)
	if err := (offline.Folder{Data: data}).SetPassphrase(t.Context(),
		[]byte("a passphrase for tests")); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]doctor.Severity{
		"": doctor.Note, "another passphrase": doctor.Critical, "a passphrase for tests": doctor.OK,
	} {
		opts := doctor.Options{Data: data}
		if text != "" {
			opts.Passphrase = func() ([]byte, error) { return []byte(text), nil }
		}
		findings := examine(t, opts)
		if !slices.ContainsFunc(findings, func(f doctor.Finding) bool {
			return f.Check == "vault" && f.Severity == want
		}) {
			t.Errorf("with the passphrase %q: %+v", text, findings)
		}
	}
}

// TestEveryAlertIsKnown compares with the alerts of Prometheus.
func TestEveryAlertIsKnown(t *testing.T) {
	rules, err := os.ReadFile("../../../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		names = append(names, m[1])
	}
	seen, unseen := doctor.Alerts()
	known := append(seen, unseen...)
	slices.Sort(names)
	slices.Sort(known)
	if !slices.Equal(names, known) {
		t.Errorf("alerts.yml has %q, doctor knows %q", names, known)
	}
}
