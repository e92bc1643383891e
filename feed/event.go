package feed

import (
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
)

// ContentType is that of an event.
const ContentType = "application/cloudevents+json"

// An event is one in the structured mode of CloudEvents 1.0, in JSON.
type event struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Subject     string `json:"subject,omitempty"`
	Time        string `json:"time"`
	ContentType string `json:"datacontenttype"`
	Data        any    `json:"data"`
}

// What an entry of the audit log says of itself in an event.
type entryData struct {
	Entry string  `json:"entry,omitempty"` // its bytes
	Known any     `json:"known,omitempty"` // in place of them, when they may not all be seen
	Index int64   `json:"index"`
	Leaf  string  `json:"leaf"` // hash of the bytes, in base64
	Prev  *int64  `json:"previous"`
	From  *int64  `json:"from,omitempty"` // without Prev: the first entry that was considered
	Proof *string `json:"proof,omitempty"`
}

// What a checkpoint event says: every entry before Next was considered.
type checkpointData struct {
	Checkpoint string `json:"checkpoint"`
	Size       int64  `json:"size"`
	Next       int64  `json:"next"`
	Prev       *int64 `json:"previous"`
	From       *int64 `json:"from,omitempty"`
}

const (
	typePrefix     = "atm."
	typeBelow      = "atm.balance.below"
	typeCheckpoint = "atm.checkpoint"
	typeTest       = "atm.test"
)

// marshal writes an event.
func (e *event) marshal() ([]byte, error) {
	e.SpecVersion, e.ContentType = "1.0", "application/json"
	return json.Marshal(e)
}

// typeOf is the type of the event of an entry.
func typeOf(e *audit.Entry, below bool) string {
	if below {
		return typeBelow
	}
	return typePrefix + cmp.Or(string(e.Operation), string(e.Event))
}

// subjectOf is the account that an entry is about; empty when it is about none.
func subjectOf(e *audit.Entry) string {
	for _, arg := range e.Args {
		if arg.Name == "account" || arg.Name == "from" && e.Operation == "transfer" {
			return arg.Value
		}
	}
	if len(e.State) > 0 {
		return e.State[0].Account
	}
	return ""
}

// known is what somebody may know of an entry whose bytes say more.
func known(e *audit.Entry) any {
	type change struct {
		Account string `json:"account"`
		Version uint64 `json:"version"`
		Before  string `json:"before"`
		After   string `json:"after"`
	}
	k := struct {
		Time      string            `json:"t"`
		Event     audit.Event       `json:"ev"`
		Operation string            `json:"op,omitempty"`
		Status    string            `json:"status,omitempty"`
		Code      string            `json:"code,omitempty"`
		Args      map[string]string `json:"args,omitempty"`
		State     []change          `json:"state,omitempty"`
		Reverses  int64             `json:"reverses,omitempty"`
	}{
		Time: e.Time.UTC().Format(audit.TimeFormat), Event: e.Event,
		Operation: string(e.Operation), Reverses: e.Reverses,
	}
	if e.Status != nil {
		k.Status, k.Code = e.Status.Word(), string(e.Status.Code)
	}
	if len(e.Args) > 0 {
		k.Args = make(map[string]string, len(e.Args))
	}
	for _, arg := range e.Args {
		k.Args[arg.Name] = arg.Value
	}
	for _, c := range e.State {
		k.State = append(k.State, change{
			c.Account, c.Version, c.Before.String(),
			c.After.String(),
		})
	}
	return k
}

// stamp is a time as events have it.
func stamp(t time.Time) string { return t.UTC().Format(audit.TimeFormat) }

func hashWord(leaf []byte) string { return merkle.LeafHash(leaf).String() }

func number(n int64) string { return strconv.FormatInt(n, 10) }
