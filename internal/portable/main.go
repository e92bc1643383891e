// Portable type-checks every package of the module as another system sees it, with its tests
// except on Windows, where not all of them have what they call. It reads the sources of what the
// packages import, because compiling those takes twenty times as long.
//
//	portable GOOS/GOARCH…
package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

func main() {
	for _, system := range os.Args[1:] {
		failed, err := check(system)
		if err != nil {
			fmt.Fprintln(os.Stderr, "portable:", err)
			os.Exit(1)
		}
		if failed > 0 {
			fmt.Fprintf(os.Stderr, "portable: %d errors on %s\n", failed, system)
			os.Exit(1)
		}
	}
}

// check prints the errors of all packages on a system, and counts them.
func check(system string) (failed int, err error) {
	goos, goarch, _ := strings.Cut(system, "/")
	all, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles |
			packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedTypesSizes,
		Env:   append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch),
		Tests: goos != "windows",
	}, "./...")
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s has no packages", system)
	}
	return packages.PrintErrors(all), err
}
