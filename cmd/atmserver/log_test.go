package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode"
)

// TestLogLinesAreNotObeyed writes text of a stranger to the log. A terminal shows it within its
// line, and executes no control sequence of it.
func TestLogLinesAreNotObeyed(t *testing.T) {
	const evil = "a\x1b[2J\nlevel=INFO\r\u009b2J\u0085\u2028\u202e\u200b\x7f\xff"
	for _, form := range []string{"text", "json"} {
		var b bytes.Buffer
		log, err := newLog(form, "debug", &b)
		if err != nil {
			t.Fatal(err)
		}
		log.Warn("refused", slog.String("user", evil), slog.Any("error", errors.New(evil)))
		got := b.String()
		if strings.Count(got, "\n") != 1 || strings.ContainsFunc(got, func(r rune) bool {
			return r != '\n' && !unicode.IsPrint(r)
		}) {
			t.Errorf("%s: %q", form, got)
		}
	}
}
