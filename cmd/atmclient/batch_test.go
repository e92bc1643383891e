package main

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"example.com/atm"
)

// Four runs of a batch at once, to which a line was added after the first, send the same request
// ids: what is carried out twice would move money twice.
func TestRunsAtOnceAgreeOnTheIDsOfAddedLines(t *testing.T) {
	const server = "https://localhost:9000"
	file := filepath.Join(t.TempDir(), "day.txt")
	state := file + ".ids"
	text := "deposit 100 1\n"
	write := func() {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	identified(t, file, state, server)
	for range 5 {
		text += "deposit 100 2\n"
		write()
		var ids [4]atm.RequestID
		var runs sync.WaitGroup
		for i := range ids {
			runs.Go(func() { ids[i] = identified(t, file, state, server) })
		}
		runs.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("runs have the ids %q for one line", ids)
			}
		}
	}
}

// identified is the request id of the last line in a batch.
func identified(t *testing.T, file, state, server string) (last atm.RequestID) {
	lines, err := readBatch(file)
	if err == nil {
		err = identifyBatch(t.Context(), state, server, lines)
	}
	if err != nil {
		t.Error(err)
		return ""
	}
	return lines[len(lines)-1].request.id
}
