package atm_test

import (
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	codeColumns = 100 // a tab is four of them
	docColumns  = 120
)

// sources calls yield with each file of ours that ends so, relative to the root.
func sources(t *testing.T, suffix string, yield func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(name, ".") || name == "node_modules" ||
			name == "testdata" || name == "dist" || name == "bin"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, suffix):
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			yield(path, string(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func columns(line string) int {
	return utf8.RuneCountInString(line) + 3*strings.Count(line, "\t")
}

// TestLinesOfCodeEndByColumn100 leaves alone what cannot be wrapped: the lines of a literal in
// backquotes, and one word that is longer.
func TestLinesOfCodeEndByColumn100(t *testing.T) {
	sources(t, ".go", func(path, text string) {
		lines := strings.Split(text, "\n")
		whole := make(map[int]bool) // the lines of such literals, from 1
		files := token.NewFileSet()
		var s scanner.Scanner
		f := files.AddFile(path, -1, len(text))
		s.Init(f, []byte(text), nil, 0)
		for {
			at, kind, literal := s.Scan()
			if kind == token.EOF {
				break
			}
			if kind == token.STRING && (literal[0] == '`' || !strings.Contains(literal, " ")) {
				first := f.Line(at)
				for i := range strings.Count(literal, "\n") + 1 {
					whole[first+i] = true
				}
			}
		}
		for i, line := range lines {
			word := strings.TrimSpace(strings.TrimLeft(line, "\t /"))
			if columns(line) > codeColumns && !whole[i+1] && strings.Contains(word, " ") {
				t.Errorf("%s:%d ends at column %d", path, i+1, columns(line))
			}
		}
	})
}

// TestLinesOfDocumentsEndByColumn120 leaves alone tables, links, commands and what is generated.
func TestLinesOfDocumentsEndByColumn120(t *testing.T) {
	sources(t, ".md", func(path, text string) {
		if strings.HasPrefix(filepath.ToSlash(path), "docs/reference/") {
			return
		}
		fenced := false
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			if columns(line) > docColumns && !fenced && !strings.HasPrefix(line, "|") &&
				strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%s:%d ends at column %d", path, i+1, columns(line))
			}
		}
	})
}

// notOurWords had to be decoded: say installation, package, layer, interface or listener for the
// metaphors, and name the user, the caller or the reader for the pronoun.
var notOurWords = regexp.MustCompile(`(?i)\b(hou` + `se|ro` + `om|flo` + `or|do` + `or)s?\b|\bwho` + `ever\b`)

func TestWordsAreTheTermsOfTheField(t *testing.T) {
	for _, suffix := range []string{".go", ".md"} {
		sources(t, suffix, func(path, text string) {
			for i, line := range strings.Split(text, "\n") {
				if word := notOurWords.FindString(line); word != "" {
					t.Errorf("%s:%d says %q", path, i+1, word)
				}
			}
		})
	}
}
