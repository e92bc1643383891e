package main

import (
	"os"
	"testing"

	"example.com/atm/cmd/internal/reference"
)

func TestReferenceOfAtmserverIsUpToDate(t *testing.T) {
	if err := reference.Compare("../../docs/reference", newCommand(os.Stderr),
		os.Getenv("ATM_UPDATE") != ""); err != nil {
		t.Error(err)
	}
}
