package wal

import (
	"bytes"
	"errors"
	"io/fs"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// create makes a log that is closed with the test.
func create(t *testing.T) (l *Log, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "log")
	l, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

// recordOf is a record with this payload.
func recordOf(payload []byte) []byte { return append(make([]byte, HeadBytes), payload...) }

// read reads a log that must be one.
func read(t *testing.T, path string) *Contents {
	t.Helper()
	c, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// copied writes data to a file of its own.
func copied(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copied")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func fileOf(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestSegmentsKeepWhatIsNotFlushed fills the segments in turn with records of many
// sizes, and reads after each rotation what follows the LSNs that may be flushed by
// then: all of it, and ErrDamaged when a record of it is torn.
func TestSegmentsKeepWhatIsNotFlushed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes long")
	}
	l, path := create(t)
	random := rand.New(rand.NewPCG(1, 2))
	payload := func(lsn LSN) []byte {
		return bytes.Repeat([]byte{byte(lsn)}, 1+int(lsn*7919%(300<<10)))
	}
	var before, other LSN // newest records of the other segment, and of the current one before it
	for rotations := 0; rotations < 6; {
		next := recordOf(payload(l.last + 1))
		if !l.Fits(len(next)) || random.IntN(80) == 0 {
			before, other = other, l.last
			rotations++
			l.Rotate()
		}
		ticket := l.Append(next)
		if err := ticket.Wait(); err != nil || ticket.LSN() != l.last {
			t.Fatal(ticket.LSN(), err)
		}
		if l.last%64 != 0 && l.at > blockBytes {
			continue
		}
		c := read(t, path)
		if c.ID != l.ID() {
			t.Fatal("the log has another name")
		}
		for _, flushed := range []LSN{before, other, l.last} {
			list, err := c.After(flushed)
			if err != nil || LSN(len(list)) != l.last-flushed {
				t.Fatalf("%d records follow %d of %d, %v", len(list), flushed, l.last, err)
			}
			for i, r := range list {
				if r.LSN != flushed+LSN(i)+1 || !bytes.Equal(r.Payload, payload(r.LSN)) {
					t.Fatalf("record %d is not what was appended", r.LSN)
				}
			}
		}
		if n := l.last - other; before > 0 && n > 0 {
			torn := fileOf(t, path)
			torn[begin(l.segment)+HeadBytes] ^= 1 // the first record of the current segment
			list, err := read(t, copied(t, torn)).After(other)
			if errors.Is(err, ErrDamaged) != (n > 1) || len(list) > 0 {
				t.Fatalf("the first of %d records is torn: %d are left, %v", n, len(list), err)
			}
		}
	}
}

// TestPowerCutLosesNoDurableRecord cuts the power while three records are being written
// together: the disk has any of their blocks by then. The list ends before the first
// that is missing. It is ErrDamaged when a record is missing that was durable before
// another one was written.
func TestPowerCutLosesNoDurableRecord(t *testing.T) {
	l, path := create(t)
	if err := l.Append(recordOf([]byte("durable"))).Wait(); err != nil {
		t.Fatal(err)
	}
	before := fileOf(t, path)
	var tickets []Ticket
	for range 3 {
		tickets = append(tickets, l.Append(recordOf([]byte("together"))))
	}
	if err := tickets[1].Wait(); err != nil {
		t.Fatal(err)
	}
	after := fileOf(t, path)
	const first = 2 * blockBytes // where the three begin
	mixed := func(after []byte, has func(block int) bool) (int, error) {
		disk := append(bytes.Clone(before), after[len(before):]...)
		for block := range 4 {
			if from := first + block*blockBytes; has(block) {
				copy(disk[from:from+blockBytes], after[from:])
			}
		}
		list, err := read(t, copied(t, disk)).After(0)
		return len(list), err
	}
	for subset := range 8 {
		want := 1 + bits.TrailingZeros8(^uint8(subset))
		have, err := mixed(after, func(block int) bool { return subset>>block&1 == 1 })
		if err != nil || have != want {
			t.Errorf("records %03b of three are there: %d are read, %v; want %d", subset, have,
				err, want)
		}
	}
	if err := l.Append(recordOf([]byte("later"))).Wait(); err != nil {
		t.Fatal(err)
	}
	after = fileOf(t, path)
	for missing := range 3 {
		have, err := mixed(after, func(block int) bool { return block != missing })
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("record %d is missing: %d are read, %v; want ErrDamaged", missing, have, err)
		}
	}
}

// TestWaitersShareTheDisk lets many wait at once: each learns that its own record is
// durable, and all are there in order.
func TestWaitersShareTheDisk(t *testing.T) {
	t.Parallel()
	l, path := create(t)
	var waiters sync.WaitGroup
	const n = 200
	for i := range n {
		ticket := l.Append(recordOf([]byte{byte(i)}))
		waiters.Go(func() {
			if err := ticket.Wait(); err != nil {
				t.Error(err)
			}
			list, err := read(t, path).After(LSN(i))
			if err != nil || len(list) == 0 || list[0].Payload[0] != byte(i) {
				t.Errorf("record %d is not on the disk: %v", i+1, err)
			}
		})
	}
	if err := l.Sync(); err != nil {
		t.Error(err)
	}
	waiters.Wait()
}

// TestNothingIsWrittenAfterAFailure lets the disk fail: what was waited for before is
// there, and every later wait fails, of records that were appended before and after.
func TestNothingIsWrittenAfterAFailure(t *testing.T) {
	l, path := create(t)
	if err := l.Append(recordOf([]byte("durable"))).Wait(); err != nil {
		t.Fatal(err)
	}
	waiting := l.Append(recordOf([]byte("doubtful")))
	l.file.Close() // the disk fails
	for _, err := range []error{
		waiting.Wait(), waiting.Wait(),
		l.Append(recordOf([]byte("later"))).Wait(), l.Sync(),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("a wait without a disk ended with %v", err)
		}
	}
	if list, err := read(t, path).After(0); err != nil || len(list) != 1 {
		t.Errorf("%d records are read, %v; want the one that was durable", len(list), err)
	}
}

// TestZeroTicketIsDurable waits for a record that was never appended.
func TestZeroTicketIsDurable(t *testing.T) {
	if lsn, err := (Ticket{}).LSN(), (Ticket{}).Wait(); lsn != 0 || err != nil {
		t.Errorf("LSN %d, %v", lsn, err)
	}
}

// TestLogHasNoRecordsOfEarlierLogs creates a log in place of one with records, and over
// its blocks.
func TestLogHasNoRecordsOfEarlierLogs(t *testing.T) {
	l, path := create(t)
	if err := l.Append(recordOf([]byte("earlier"))).Wait(); err != nil {
		t.Fatal(err)
	}
	earlier := fileOf(t, path)
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	if c := read(t, path); !c.Empty() || c.ID == l.ID() {
		t.Error("the new log has records of the earlier one, or its name")
	}
	mixed := append(fileOf(t, path), earlier[blockBytes:]...)
	if c := read(t, copied(t, mixed)); !c.Empty() {
		t.Error("records of an earlier log in the same blocks were read")
	}
}

// TestLogCanBeEmptiedAndSetAside empties a log, sets several logs aside, and creates a new one.
func TestLogCanBeEmptiedAndSetAside(t *testing.T) {
	l, path := create(t)
	if err := l.Append(recordOf([]byte("flushed"))).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := Empty(path); err != nil {
		t.Fatal(err)
	}
	if c := read(t, path); !c.Empty() || c.ID != l.ID() {
		t.Error("an empty log has records, or another name")
	}
	for _, name := range []string{".1", ".2"} {
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := SetAside(path); err != nil {
			t.Fatal(err)
		}
		if string(fileOf(t, path+name)) != name {
			t.Errorf("%s is not what was set aside", name)
		}
	}
	if err := SetAside(path); err != nil {
		t.Errorf("set aside nothing: %v", err)
	}
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a log that was set aside: %v", err)
	}
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a log that was removed is there")
	}
}

// FuzzRead reads what is no log, and logs whose bytes were changed.
func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "log")
	l, err := Create(path)
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	for _, payload := range []string{"one", "two", ""} {
		if err := l.Append(recordOf([]byte(payload))).Wait(); err != nil {
			f.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:5*blockBytes], uint64(0))
	f.Add(whole[:3*blockBytes], uint64(1))
	f.Add([]byte(magic), uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, flushed uint64) {
		c, err := parse(data)
		if err != nil {
			return
		}
		list, _ := c.After(LSN(flushed))
		for i, r := range list {
			if r.LSN != LSN(flushed)+LSN(i)+1 || len(r.Payload) > len(data) {
				t.Errorf("record %d follows %d as number %d", r.LSN, flushed, i)
			}
		}
	})
}
