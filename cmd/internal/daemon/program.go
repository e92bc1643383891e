package daemon

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/version"
	"example.com/atm/internal/machine"
)

// The description of the program, its settings and its machine in entries of starts, stops and
// heartbeats.

// Program describes this program as of now.
func (i *installation) Program() audit.Program {
	p := audit.Program{
		Version: i.opts.Version, Build: build(), Boot: machine.Boot(),
		Settings: i.settings(),
	}
	if clock, ok := machine.ReadClock(); ok {
		p.Clock = &audit.Clock{Synchronised: clock.Synchronised, MaxError: clock.MaxError}
	}
	return p
}

// settings are the hashes of the effective settings and of the files that they name. Files with
// secrets are excluded, because a hash would confirm a guess.
func (i *installation) settings() []audit.Arg {
	list := []audit.Arg{{Name: "effective", Value: hashOf([]byte(i.opts.Settings))}}
	for _, f := range []struct{ name, path string }{
		{"client-ca", i.opts.ClientCA},
		{"identities", i.opts.Identities},
		{"issuers", i.opts.Issuers},
		{"witness-policy", i.opts.WitnessFile},
		{"mirrors", i.opts.MirrorFile},
		{"feed-ca", i.opts.Feed.CA},
		{"config.toml", i.dir.Path("config.toml")},
	} {
		if f.path == "" {
			continue
		}
		text, err := os.ReadFile(f.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			list = append(list, audit.Arg{Name: f.name, Value: "missing"})
		case err != nil:
			list = append(list, audit.Arg{Name: f.name, Value: "unreadable"})
		default:
			list = append(list, audit.Arg{Name: f.name, Value: hashOf(text)})
		}
	}
	return list
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hashed(sum[:])
}

func hashed(sum []byte) string { return "sha256:" + base64.StdEncoding.EncodeToString(sum) }

// build describes the compiler and the sources of the program, and has the hash of the
// executable.
var build = sync.OnceValue(func() string {
	i := version.Read()
	text := i.Go + " " + i.Platform + " vcs.revision=" + i.Revision
	if i.Modified {
		text += " vcs.modified=true"
	}
	hash, err := hashOfProgram()
	if err != nil {
		return text
	}
	return text + " " + hash
})

// hashOfProgram is that of the executable, which is not read into memory at once.
func hashOfProgram() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hashed(h.Sum(nil)), nil
}

// synchronised is the metric of the machine's clock.
func synchronised() float64 {
	switch clock, ok := machine.ReadClock(); {
	case !ok:
		return math.NaN()
	case clock.Synchronised:
		return 1
	}
	return 0
}
