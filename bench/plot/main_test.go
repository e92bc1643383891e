package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMediansAreJoined draws a few rounds: the line goes through the medians, by clients, and
// what was not measured is not drawn.
func TestMediansAreJoined(t *testing.T) {
	p := plots()[0]
	drawn := p.draw(map[string][]measurement{
		"deposit/256": {{Rate: 10_000}},
		"deposit/1":   {{Rate: 90}, {Rate: 100}, {Rate: 5000}},
		"deposit/16":  {{Rate: 1000}},
		"hot/64":      {{Rate: 77}},
	})
	for d := xml.NewDecoder(strings.NewReader(drawn)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	// From 100 to 10,000: the left end is at the bottom, the middle in the middle.
	if want := `d="M70.0 350.0L335.0 195.0L600.0 40.0"`; !strings.Contains(drawn, want) {
		t.Errorf("no %s in\n%s", want, drawn)
	}
	if n := strings.Count(drawn, `fill="none"`); n != 1 {
		t.Errorf("%d lines were drawn", n)
	}
}

// TestGrowthBeginsAtZero draws what grows by each operation: along a straight line from zero.
func TestGrowthBeginsAtZero(t *testing.T) {
	p := plots()[2]
	drawn := p.draw(map[string][]measurement{
		"growth/250000":  {{Log: 200, Vault: 100, Memory: 50}},
		"growth/1000000": {{Log: 800, Vault: 400, Memory: 50}},
	})
	// Up to 800, and so at the top; a quarter of the operations at a quarter of the height.
	for _, want := range []string{
		`d="M202.5 272.5L600.0 40.0"`, `d="M202.5 311.2L600.0 195.0"`,
		`d="M202.5 330.6L600.0 330.6"`, `>1,000,000</text>`,
	} {
		if !strings.Contains(drawn, want) {
			t.Errorf("no %s in\n%s", want, drawn)
		}
	}
}

// TestWhatWasNotMeasuredIsNotDrawn leaves a plot as it is that the files say nothing about.
func TestWhatWasNotMeasuredIsNotDrawn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "cores.json")
	err := os.WriteFile(file, []byte(`{"rounds": {"deposit by cores/1": [{"server": 40}], `+
		`"deposit by cores/2": [{"server": 44}]}}`), 0o600)
	if err == nil {
		err = run([]string{file, filepath.Join(dir, "plots")})
	}
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadDir(filepath.Join(dir, "plots"))
	if err != nil || len(drawn) != 1 || drawn[0].Name() != "cores.svg" {
		t.Errorf("%v, %v", drawn, err)
	}
}
