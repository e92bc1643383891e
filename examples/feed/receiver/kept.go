package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"example.com/atm/audit/merkle"
)

// kept is what must survive a restart. Its file has a line for each event that was taken.
type kept struct {
	file *os.File
	pins map[string]string // what never becomes another one: by id of an event, by size of the log
	line
}

// A line is what one event adds.
type line struct {
	Pins map[string]string `json:"pins"`
	Last int64             `json:"last"` // the entry that was sent last; -1 for none
	Seen int64             `json:"seen"` // every entry before it was considered; 0 at the beginning
	Size int64             `json:"size"` // that the log had
}

// open reads a file, and makes it when there is none.
func open(path string) (k *kept, err error) {
	k = &kept{pins: make(map[string]string), line: line{Last: -1}}
	if k.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(k.file)
	if err != nil {
		return nil, errors.Join(err, k.file.Close())
	}
	// An event whose line was not written to its end was not acknowledged.
	whole := text[:bytes.LastIndexByte(text, '\n')+1]
	for text := range bytes.Lines(whole) {
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), k.file.Close())
		}
		maps.Copy(k.pins, l.Pins)
		k.line = l
	}
	if err := k.file.Truncate(int64(len(whole))); err != nil {
		return nil, errors.Join(err, k.file.Close())
	}
	return k, nil
}

func (k *kept) close() error { return k.file.Close() }

// A draft is what an event would add. It counts when the event is good.
type draft struct {
	line
	before *kept
}

func (k *kept) draft() *draft {
	d := &draft{line: k.line, before: k}
	d.Pins = make(map[string]string)
	return d
}

// keep writes what an event adds, and makes it durable: it is acknowledged next.
func (k *kept) keep(d *draft) error {
	text, err := json.Marshal(d.line)
	if err != nil {
		return err
	}
	end, err := k.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err = k.file.Write(append(text, '\n')); err == nil {
		err = k.file.Sync()
	}
	if err != nil { // the next line must not follow half of this one
		return errors.Join(err, k.file.Truncate(end))
	}
	maps.Copy(k.pins, d.Pins)
	k.line = d.line
	return nil
}

func (d *draft) has(name string) bool { return d.before.pins[name] != "" }

// pin keeps what never becomes another one.
func (d *draft) pin(name, value string) error {
	for _, pins := range []map[string]string{d.before.pins, d.Pins} {
		if was := pins[name]; was != "" && was != value {
			return wrong("%s was %s, and is now %s", name, was, value)
		}
	}
	if !d.has(name) {
		d.Pins[name] = value
	}
	return nil
}

// root keeps the root of the log when it had so many entries: one with two histories has two.
func (d *draft) root(size int64, root merkle.Hash) error {
	return d.pin(fmt.Sprintf("the root of %d entries", size), root.String())
}

// follows checks that nothing is missing between what came last and an event. The first event
// has nothing before it; nor has the first after the owner had the feed delivered again.
func (d *draft) follows(e *data, p place) error {
	switch before := e.Previous; {
	case before != nil && *before != d.Last:
		return wrong("something is missing: %d came last, %d was sent before it", d.Last, *before)
	case before == nil && (e.From == nil || *e.From <= d.Last || d.Seen > 0 && *e.From > d.Seen):
		return wrong("something is missing: %d came last, and it begins anew", d.Last)
	case p.begin < d.Seen:
		return wrong("%d is late: everything before %d was here", p.begin, d.Seen)
	}
	if p.end > p.begin {
		d.Last = p.begin
	}
	d.Seen = p.end
	return nil
}
