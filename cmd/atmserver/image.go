//go:build image

package main

import (
	"os"
	"path/filepath"

	"example.com/atm/cmd/internal/ctl/program"
)

// In a container image atmserver and atmctl are one file with two names. They share nearly all
// of their packages, so the image is half as large as with two files.
func main() {
	if filepath.Base(os.Args[0]) == "atmctl" {
		program.Main()
	}
	serverMain()
}
