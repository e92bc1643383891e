package program

import (
	"os"
	"testing"

	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/reference"
)

func TestReferenceOfAtmctlIsUpToDate(t *testing.T) {
	if err := reference.Compare("../../../../docs/reference",
		newCommand(ctl.New(os.Stdout, os.Stderr)),
		os.Getenv("ATM_UPDATE") != ""); err != nil {
		t.Error(err)
	}
}
