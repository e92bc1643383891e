package main

import (
	"os"
	"testing"

	"example.com/atm/cmd/internal/reference"
)

func TestReferenceOfAtmclientIsUpToDate(t *testing.T) {
	if err := reference.Compare("../../docs/reference",
		new(options).command(),
		os.Getenv("ATM_UPDATE") != ""); err != nil {
		t.Error(err)
	}
}
