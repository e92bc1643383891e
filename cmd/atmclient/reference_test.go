package main

import (
	"os"
	"testing"

	"example.com/atm/cmd/internal/reference"
)

func TestReference(t *testing.T) {
	if err := reference.Compare("../../docs/reference",
		(&options{stdout: os.Stdout, stderr: os.Stderr}).command(),
		os.Getenv("ATM_UPDATE") != ""); err != nil {
		t.Error(err)
	}
}
