package main

import (
	"encoding/xml"
	"errors"
	"io"
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
