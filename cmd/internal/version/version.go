// Package version identifies the running program.
package version

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
)

// Set by the linker in a release.
var released, revision string

// String is the version of the release, or of the module that the program was built from, or
// "devel" for a checkout.
func String() string {
	if released != "" {
		return released
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// An Info describes how a program was built.
type Info struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // of the sources; "unknown" if not recorded
	Modified bool   `json:"modified"` // the sources differ from Revision
	Go       string `json:"go"`
	Platform string `json:"platform"` // such as linux/amd64
}

// Read returns how the running program was built.
func Read() Info {
	i := Info{
		Version: String(), Revision: revision,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build, ok := debug.ReadBuildInfo(); ok && i.Revision == "" {
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				i.Revision = s.Value
			case "vcs.modified":
				i.Modified, _ = strconv.ParseBool(s.Value)
			}
		}
	}
	if i.Revision == "" {
		i.Revision = "unknown"
	}
	return i
}

// Print prints how a program was built, in lines or as JSON.
func Print(w io.Writer, program string, asJSON bool) error {
	i := Read()
	if asJSON {
		return json.NewEncoder(w).Encode(i)
	}
	note := ""
	if i.Modified {
		note = " modified"
	}
	_, err := fmt.Fprintf(w, "%s %s\nrevision %s%s\ngo %s\nplatform %s\n",
		program, i.Version, i.Revision, note, i.Go, i.Platform)
	return err
}
