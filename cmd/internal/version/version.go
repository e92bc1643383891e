// Package version is the version of the programs.
package version

import "runtime/debug"

// released is set by the linker in a release.
var released string

// String is the version of the release, or of the module that the program was
// built from, or "devel" for a checkout.
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
