//go:build unix

package documents_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/documents"
)

// A try is a file and a proof that somebody made.
type try struct {
	name        string
	file, proof []byte
	code        int
	says        string
}

func (b *bank) refuses(tries []try) {
	b.t.Helper()
	for _, tt := range tries {
		r := documents.CheckStatement(tt.file, tt.proof, b.key())
		if r.Code != tt.code || !strings.Contains(r.Sentence, tt.says) {
			b.t.Errorf("%s: %d %.300s", tt.name, r.Code, r.Sentence)
		}
	}
}

// TestHostileFilesAreRefused gives the check what no client of ours writes.
func TestHostileFilesAreRefused(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.busy()
	file, proof := b.fetch(200, "", "", documents.CSV)
	xml, xmlProof := b.fetch(200, "", "", documents.Camt)
	object, objectProof := b.fetch(200, "", "", documents.JSON)
	const deep = 100_000
	crlf := func(text []byte) []byte {
		return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	bomb := []byte(`<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b ` +
		`"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><Document>&b;</Document>` + "\n")
	header, _, _ := bytes.Cut(proof, []byte("\n"))
	b.refuses([]try{
		{"nothing", nil, proof, audit.ContentDiffers, "line 1 is missing"},
		{"no proof", file, nil, audit.ContentDiffers, "the proof ends after line 0"},
		{"carriage returns", crlf(file), proof, audit.ContentDiffers, "line 1 ends with a carr"},
		{"no end of the last line", file[:len(file)-1], proof, audit.ContentDiffers, "has no end"},
		{"broken text", append([]byte("\xff\xfe"), file...), proof, audit.ContentDiffers, "line 1"},
		{"entities", bomb, xmlProof, audit.ContentDiffers, "line 1 was changed"},
		{
			"deep JSON", bytes.Repeat([]byte("["), deep), objectProof, audit.ContentDiffers,
			"line 1 was changed",
		},
		{"another form", xml, proof, audit.ContentDiffers, "line 1"},
		{"the form in the proof", object, proof, audit.ContentDiffers, "line 1"},
		{"proof of carriage returns", file, crlf(proof), audit.CannotVerify, "line 1 of the proof"},
		{"proof of something else", file, file, audit.CannotVerify, "line 1 of the proof"},
		{
			"proof that is deep", file, bytes.Repeat([]byte(`{"a":`), deep), audit.CannotVerify,
			"line 1 of the proof",
		},
		{"broken proof", file, append(bytes.Clone(header), "\n\xff\n"...), audit.CannotVerify, "line 2"},
		{
			"a form that does not exist", file, bytes.Replace(proof, []byte(`"csv"`),
				[]byte(`"exe"`), 1), audit.CannotVerify, "there is no form",
		},
	})
}

// TestPartsOfOtherStatementsProveNothing mixes statements that are proved each for itself.
func TestPartsOfOtherStatementsProveNothing(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.busy()
	b.ManyMovements(t, 1200) // three pages of account 100
	file, proof := b.fetch(100, "", "", documents.CSV)
	other, otherProof := b.fetch(200, "", "", documents.CSV)
	again, againProof := b.fetch(100, "", "", documents.CSV)
	part, partProof := b.fetch(100, "", "2001-01-01T00:00:00Z", documents.CSV)
	elsewhere := newBank(t)
	foreign, foreignProof := elsewhere.fetch(100, "", "", documents.CSV)

	lines := bytes.SplitAfter(proof, []byte("\n"))
	lines = lines[:len(lines)-1]
	if len(lines) < 1000 {
		t.Fatalf("the proof has %d lines", len(lines))
	}
	var pages []int // the lines at which pages begin
	for i, line := range lines {
		if bytes.HasPrefix(line, []byte(`{"answer":`)) {
			pages = append(pages, i)
		}
	}
	if len(pages) != 3 {
		t.Fatalf("there are %d pages", len(pages))
	}
	join := func(parts ...[][]byte) []byte {
		var all []byte
		for _, part := range parts {
			all = append(all, bytes.Join(part, nil)...)
		}
		return all
	}
	otherHeader := bytes.Replace(otherProof, []byte(`"account":"200"`), []byte(`"account":"100"`),
		1)
	const differs = audit.ContentDiffers
	b.refuses([]try{
		{"another account", file, otherProof, differs, "line"},
		{"another account under the name of this", other, otherHeader, differs, "another account"},
		{"a shorter time", file, partProof, differs, "line 2 is too many"},
		{"a shorter time for the whole", part, proof, differs, "line 2 is missing"},
		{"another log", foreign, foreignProof, audit.WrongSignature, "line 2 of the proof"},
		{
			"no first page", file, join(lines[:1], lines[pages[1]:]), differs,
			"line 2 of the proof: entry",
		},
		{
			"no page in the middle", file, join(lines[:pages[1]], lines[pages[2]:]), differs,
			fmt.Sprintf("line %d of the proof", pages[1]+1),
		},
		{"no last page", file, join(lines[:pages[2]]), differs, "before the statement does"},
		{
			"a page twice", file, join(lines[:pages[2]], lines[pages[1]:]), differs,
			fmt.Sprintf("line %d of the proof", pages[2]+1),
		},
		{"a row after the last", file, join(lines, lines[len(lines)-1:]), differs, "goes on"},
		{
			"rows in another order", file,
			join(lines[:2], lines[3:4], lines[2:3], lines[4:]), differs, "line 3 of the proof",
		},
		{
			"another time in the header", file, bytes.Replace(proof, []byte(`"from":""`),
				[]byte(`"from":"2001-01-01T00:00:00Z"`), 1), differs, "line 2 of the proof",
		},
		{
			"another bank", file, bytes.Replace(proof, []byte(b.Name), []byte("other.example"), 1),
			audit.WrongSignature, "the bank is other.example",
		},
	})
	if r := documents.CheckStatement(again, againProof, b.key()); !r.OK() {
		t.Errorf("the same statement, asked for again: %d %s", r.Code, r.Sentence)
	}
	if r := documents.CheckStatement(file, proof, "not a key"); r.Code != audit.CannotVerify {
		t.Errorf("without a key: %d %s", r.Code, r.Sentence)
	}
}

// FuzzCheckStatement begins with statements that are right.
func FuzzCheckStatement(f *testing.F) {
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(earlier, name))
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	key := string(read("log.vkey"))
	right := make(map[string]string) // the proofs of files
	for _, form := range documents.Forms {
		file, proof := read("statement."+string(form)), read("statement."+string(form)+".proof")
		right[string(file)] = string(proof)
		f.Add(file, proof)
	}
	f.Fuzz(func(t *testing.T, file, proof []byte) {
		r := documents.CheckStatement(file, proof, key)
		if r.OK() && right[string(file)] != string(proof) {
			t.Errorf("%q is verified by %q", file, proof)
		}
	})
}
