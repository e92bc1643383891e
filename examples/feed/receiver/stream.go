package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// errWrong reports an event that must not be acknowledged.
var errWrong = errors.New("wrong")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWrong, fmt.Sprintf(format, args...))
}

// An event is one in the JSON form of CloudEvents, with the members that are checked.
type event struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Subject     string `json:"subject"`
	Time        string `json:"time"`
	Data        data   `json:"data"`
}

// data is that of an entry of the audit log, or of a checkpoint.
type data struct {
	Previous *int64 `json:"previous"` // the entry that was sent before; nil for none since From
	From     *int64 `json:"from"`

	Entry *string `json:"entry"` // its bytes
	Known *entry  `json:"known"` // without them, what the owner of an account may know
	Index *int64  `json:"index"`
	Leaf  string  `json:"leaf"`
	Proof string  `json:"proof"`

	Checkpoint string `json:"checkpoint"`
	Size       int64  `json:"size"`
	Next       int64  `json:"next"` // every entry before it was considered
}

// An entry of the audit log says more; this is what an event repeats.
type entry struct {
	Time      string `json:"t"`
	Event     string `json:"ev"`
	Operation string `json:"op"`
}

// A stream is the events of one subscription.
type stream struct {
	*kept
	vkey string // public keys of the audit log, one a line
}

// take checks an event, and keeps what those after it must agree with. It returns what came, in a
// line. An event that is sent again is acknowledged, and not handled again.
func (s *stream) take(id string, body []byte) (said string, err error) {
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		return "", wrong("it is no event: %v", err)
	}
	d := s.draft()
	subscription, name, _ := strings.Cut(id, "-")
	if err := d.pin("the stream", subscription+" of "+e.Source); err != nil {
		return "", err
	}
	if name != e.ID || e.SpecVersion != "1.0" {
		return "", wrong("the webhook is %s, the event %s", id, e.ID)
	}
	said = id + " " + e.Type
	p := place{begin: -1}
	switch {
	case e.Type == "atm.test":
		return said, nil
	case e.Type == "atm.checkpoint":
		p, err = s.checkpoint(d, &e)
	case e.Data.Index == nil:
		return "", wrong("it is about no entry")
	default:
		p, err = s.entry(d, &e)
	}
	if err != nil {
		return "", err
	}
	again := d.has(id)
	if err := d.pin(id, p.what); err != nil {
		return "", err
	}
	if again {
		return said + " again", nil
	}
	if err := d.follows(&e.Data, p); err != nil {
		return "", err
	}
	return said, s.keep(d)
}

// A place is where an event stands in the log: everything before begin was sent before it.
type place struct {
	what       string // hash that events of this id have
	begin, end int64
}

// checkpoint checks a checkpoint with its signature. Its size never becomes less.
func (s *stream) checkpoint(d *draft, e *event) (p place, err error) {
	c, err := checkpoint.Open([]byte(e.Data.Checkpoint), s.vkey)
	switch {
	case err != nil:
		return p, wrong("the checkpoint: %v", err)
	case c.Origin != e.Source || c.Size != e.Data.Size || e.Data.Next > c.Size ||
		e.ID != fmt.Sprintf("checkpoint-%d", c.Size):
		return p, wrong("the checkpoint is of %s with %d entries", c.Origin, c.Size)
	case c.Size < d.Size:
		return p, wrong("the log had %d entries before, and has %d", d.Size, c.Size)
	}
	d.Size = c.Size
	return place{c.Root.String(), e.Data.Next, e.Data.Next}, d.root(c.Size, c.Root)
}

// entry checks that an event says the same as its entry.
func (s *stream) entry(d *draft, e *event) (p place, err error) {
	var leaf merkle.Hash
	hash, err := base64.StdEncoding.Strict().DecodeString(e.Data.Leaf)
	if err != nil || copy(leaf[:], hash) != len(hash) || leaf.String() != e.Data.Leaf {
		return p, wrong("%q is no leaf hash", e.Data.Leaf)
	}
	index, said := *e.Data.Index, e.Data.Known
	if bytes := e.Data.Entry; bytes != nil {
		if merkle.LeafHash([]byte(*bytes)) != leaf {
			return p, wrong("the entry was altered: its leaf hash is another one")
		}
		said = new(entry)
		if err := json.Unmarshal([]byte(*bytes), said); err != nil {
			return p, wrong("the entry is none: %v", err)
		}
	}
	if said == nil || e.ID != strconv.FormatInt(index, 10) || e.Time != said.Time ||
		e.Type != "atm.balance.below" && e.Type != "atm."+cmp.Or(said.Operation, said.Event) {
		return p, wrong("the event is of another entry")
	}
	if err := d.pin("whether there are proofs", strconv.FormatBool(e.Data.Proof != "")); err != nil {
		return p, err
	}
	if e.Data.Proof != "" {
		err = s.prove(d, e, leaf)
	}
	return place{e.Data.Leaf, index, index + 1}, err
}

// prove checks the proof that an entry is in the log, and the signature of the log in it.
func (s *stream) prove(d *draft, e *event, leaf merkle.Hash) error {
	proof, err := audit.ParseProof([]byte(e.Data.Proof))
	if err != nil || proof.Index != *e.Data.Index {
		return wrong("it has no proof of entry %d", *e.Data.Index)
	}
	report := proof.CheckHash(leaf, s.vkey)
	if !report.OK() || report.Origin != e.Source {
		return wrong("the proof: %s", report.Sentence)
	}
	return d.root(report.Size, report.Root)
}
