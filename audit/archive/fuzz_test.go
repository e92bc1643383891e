package archive

import (
	"context"
	"errors"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
)

// FuzzChapterName reads names as storage lists them: each size has one name.
func FuzzChapterName(f *testing.F) {
	for _, name := range []string{
		"chapter/0000000000001400/checkpoint", "chapter/0000000000001400/snapshot", "chapter//checkpoint",
		"chapter/+000000000001400/checkpoint", "chapter/1400/checkpoint", "chapter/99999999999999999/",
		"chapter/0000000000000000/checkpoint", "checkpoint", "chapter/-000000000001400/checkpoint",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		size, is := parseChapter(name)
		if is && (size <= 0 || chapterFolder(size)+checkpoint.File != name) {
			t.Errorf("%q is the name of a chapter of %d entries", name, size)
		}
	})
}

// text are the files of a log, each with the same content.
type text string

func (s text) ReadFile(context.Context, string, int64) ([]byte, error) { return []byte(s), nil }

// FuzzPruned reads files that say where a log begins.
func FuzzPruned(f *testing.F) {
	for _, content := range []string{"0\n", "256\n", "256", "-256\n", "1e3\n", "256\n\n", ""} {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content string) {
		var unusable *audit.FileError
		base, err := ReadPruned(t.Context(), text(content))
		if err == nil && (base < 0 || strings.ContainsAny(content, " .e")) {
			t.Errorf("%q is %d", content, base)
		}
		if err != nil && !errors.As(err, &unusable) {
			t.Errorf("%q: %v", content, err)
		}
	})
}
