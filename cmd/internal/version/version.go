// Package version is the version of the programs.
package version

import "runtime/debug"

// String is the version of the module that the program was built from, or
// "devel" for a checkout.
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
