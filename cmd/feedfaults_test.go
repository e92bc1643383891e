//go:build unix

package cmd_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"example.com/atm/feed/webhook"
)

// A message is a webhook as somebody sends it, who may be our server, may lie, or may sit on the
// way to the receiver.
type message struct {
	id   string
	at   time.Time
	body []byte
	key  webhook.Key

	onTheWay func(m *message) // changes it when it is signed already; nil for nothing
	headers  map[string]string
}

// A fault is something wrong that a receiver has to notice when all before position i of the
// stream has arrived. It returns nil where it makes no sense.
type fault func(f *forger, i int) *message

// A forger makes faults. It has the secrets of the server: a forger without them is easily noticed.
type forger struct {
	*rand.Rand
	stream []*sent // what was sent to one receiver
	other  []*sent // what was sent to another one
	key    webhook.Key
	others webhook.Key
	log    note.Signer
	python bool // the receiver cannot verify the signature of the log
}

// signed is what the server would send.
func (f *forger) signed(id string, body []byte) *message {
	return &message{id: id, at: time.Now(), body: body, key: f.key}
}

func (f *forger) honest(i int) *message { return f.signed(f.stream[i].id, f.stream[i].body) }

// alter has the server change an event before it signs it.
func (f *forger) alter(i int, change func(e, data map[string]any)) *message {
	m := f.honest(i)
	m.body = altered(m.body, change)
	return m
}

func altered(body []byte, change func(e, data map[string]any)) []byte {
	var e map[string]any
	if err := json.Unmarshal(body, &e); err != nil {
		panic(err)
	}
	change(e, e["data"].(map[string]any))
	text, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return text
}

// another returns text with another character at a place, of the same kind, so that the text
// still has its form.
func (f *forger) another(text string, from, to int) string {
	i := from + f.IntN(to-from)
	for !isAlphanumeric(text[i]) {
		i = from + (i+1-from)%(to-from)
	}
	changed := byte('A')
	if text[i] >= '0' && text[i] <= '9' {
		changed = '0'
	}
	if text[i] == changed {
		changed++
	}
	return text[:i] + string(changed) + text[i+1:]
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// omitting sends what comes n later.
func omitting(n int) fault {
	return func(f *forger, i int) *message {
		if i+n >= len(f.stream) {
			return nil
		}
		for _, left := range f.stream[i : i+n] {
			if left.isEntry() {
				return f.honest(i + n)
			}
		}
		return nil // without a checkpoint nothing is missing
	}
}

// entryFault is a fault of an event about an entry.
func entryFault(change func(f *forger, w *sent, e, data map[string]any)) fault {
	return func(f *forger, i int) *message {
		if !f.stream[i].isEntry() {
			return nil
		}
		return f.alter(i, func(e, data map[string]any) { change(f, f.stream[i], e, data) })
	}
}

// proofFault changes a proof, from its beginning to its tree size and root.
func proofFault(change func(f *forger, proof string) string) fault {
	return func(f *forger, i int) *message {
		if !strings.Contains(string(f.stream[i].body), `"proof"`) {
			return nil
		}
		return f.alter(i, func(_, data map[string]any) {
			data["proof"] = change(f, data["proof"].(string))
		})
	}
}

// checkpointFault is a fault of a checkpoint.
func checkpointFault(change func(f *forger, w *sent, e, data map[string]any)) fault {
	return func(f *forger, i int) *message {
		if f.stream[i].isEntry() {
			return nil
		}
		return f.alter(i, func(e, data map[string]any) { change(f, f.stream[i], e, data) })
	}
}

// onTheWay is a fault that is made of a good message.
func onTheWay(change func(f *forger, m *message)) fault {
	return func(f *forger, i int) *message {
		m := f.honest(i)
		m.onTheWay = func(m *message) { change(f, m) }
		return m
	}
}

// plus adds to a number of an event, or takes from it.
func plus(data map[string]any, name string, n int64) {
	was, _ := data[name].(float64) // null counts as zero
	data[name] = int64(was) + n
}

// before returns the last one of the stream before position i that is as wanted; nil for none.
func (f *forger) before(i int, wanted func(*sent) bool) *sent {
	for i--; i >= 0; i-- {
		if wanted(f.stream[i]) {
			return f.stream[i]
		}
	}
	return nil
}

// fork is a checkpoint of the same size with another root, signed by the log itself.
func (f *forger) fork(signed string) string {
	lines := strings.Split(signed, "\n")
	lines[2] = f.another(lines[2], 0, 20)
	text, err := note.Sign(&note.Note{Text: strings.Join(lines[:3], "\n") + "\n"}, f.log)
	if err != nil {
		panic(err)
	}
	return string(text)
}

var faults = map[string]fault{
	// The server leaves something out.
	"one is omitted":     omitting(1),
	"two are omitted":    omitting(2),
	"five are omitted":   omitting(5),
	"twelve are omitted": omitting(12),
	"all before the last one are omitted": func(f *forger, i int) *message {
		return omitting(len(f.stream)-1-i)(f, i)
	},
	"one is omitted, and the next one begins anew": func(f *forger, i int) *message {
		m := omitting(1)(f, i)
		if m == nil || i == 0 || !f.stream[i+1].isEntry() {
			return nil // a receiver that is new does not know where it began
		}
		m.body = altered(m.body, func(_, data map[string]any) {
			data["previous"], data["from"] = nil, data["index"]
		})
		return m
	},
	"it begins anew before what came last": func(f *forger, i int) *message {
		last := f.before(i, (*sent).isEntry)
		if last == nil {
			return nil
		}
		return f.alter(i, func(_, data map[string]any) {
			data["previous"], data["from"] = nil, last.Data.Index
		})
	},
	"the last one before a checkpoint is omitted": func(f *forger, i int) *message {
		if i+1 == len(f.stream) || f.stream[i+1].isEntry() {
			return nil
		}
		return omitting(1)(f, i)
	},
	"two change places": func(f *forger, i int) *message {
		if i+1 == len(f.stream) || !f.stream[i].isEntry() || !f.stream[i+1].isEntry() {
			return nil
		}
		return f.honest(i + 1)
	},

	// The server alters something.
	"a byte of the entry is altered": func(f *forger, i int) *message {
		entry := f.stream[i].Data.Entry
		if entry == "" { // the owner of an account has no more than the word of the server
			return nil
		}
		return f.alter(i, func(_, data map[string]any) {
			data["entry"] = f.another(entry, 0, len(entry))
		})
	},
	"the leaf hash is altered": entryFault(func(f *forger, w *sent, _, data map[string]any) {
		data["leaf"] = f.another(w.Data.Leaf, 0, 40)
	}),
	"the index is altered": entryFault(func(_ *forger, _ *sent, _, data map[string]any) {
		plus(data, "index", 1)
	}),
	"index and id are altered, in the proof too": func(f *forger, i int) *message {
		if !f.stream[i].isEntry() || !strings.Contains(string(f.stream[i].body), `"proof"`) {
			return nil
		}
		subscription, _, _ := strings.Cut(f.stream[i].id, "-")
		index := f.stream[i].Data.Index
		m := f.alter(i, func(e, data map[string]any) {
			e["id"], data["index"] = strconv.FormatInt(index+1, 10), index+1
			data["proof"] = strings.Replace(data["proof"].(string), fmt.Sprintf("index %d\n", index),
				fmt.Sprintf("index %d\n", index+1), 1)
		})
		m.id = fmt.Sprintf("%s-%d", subscription, index+1)
		return m
	},
	"the id is altered": entryFault(func(_ *forger, w *sent, e, _ map[string]any) {
		e["id"] = strconv.FormatInt(w.Data.Index+1, 10)
	}),
	"previous is altered": func(f *forger, i int) *message {
		return f.alter(i, func(_, data map[string]any) { plus(data, "previous", int64(1+f.IntN(9))) })
	},
	"previous is too small": func(f *forger, i int) *message {
		if f.before(i, (*sent).isEntry) == nil {
			return nil
		}
		return f.alter(i, func(_, data map[string]any) { plus(data, "previous", -1) })
	},
	"the type is altered": entryFault(func(_ *forger, _ *sent, e, _ map[string]any) {
		e["type"] = "atm.payday"
	}),
	"the time is altered": entryFault(func(_ *forger, _ *sent, e, _ map[string]any) {
		e["time"] = "2020-01-01T00:00:00.000000Z"
	}),
	"the source is altered": func(f *forger, i int) *message {
		if i == 0 {
			return nil
		}
		return f.alter(i, func(e, _ map[string]any) { e["source"] = "bank.example" })
	},
	"the data is missing": func(f *forger, i int) *message {
		return f.alter(i, func(e, _ map[string]any) { e["data"] = map[string]any{} })
	},
	"it is no event": func(f *forger, i int) *message { return f.signed(f.stream[i].id, []byte("[]")) },

	// The server cannot prove something.
	"the proof is missing": func(f *forger, i int) *message {
		if f.before(i, (*sent).isEntry) == nil || !strings.Contains(string(f.stream[i].body),
			`"proof"`) {
			return nil
		}
		return f.alter(i, func(_, data map[string]any) { delete(data, "proof") })
	},
	"the proof is of another index": proofFault(func(f *forger, proof string) string {
		return strings.Replace(proof, "index ", "index 1", 1)
	}),
	"a hash of the proof is altered": proofFault(func(f *forger, proof string) string {
		lines := strings.Split(proof, "\n")
		path := lines[2:len(strings.Split(strings.Split(proof, "\n\n")[0], "\n"))]
		n := f.IntN(len(path))
		path[n] = f.another(path[n], 0, 40)
		return strings.Join(lines, "\n")
	}),
	"a hash of the proof is missing": proofFault(func(f *forger, proof string) string {
		lines := strings.Split(proof, "\n")
		return strings.Join(append(lines[:2:2], lines[3:]...), "\n")
	}),
	"the proof has a hash too many": proofFault(func(f *forger, proof string) string {
		lines := strings.Split(proof, "\n")
		return strings.Join(slices.Insert(lines, 2, lines[2]), "\n")
	}),
	"the proof leads to another root": proofFault(func(f *forger, proof string) string {
		path, signed, _ := strings.Cut(proof, "\n\n")
		return path + "\n\n" + f.fork(signed)
	}),
	"the proof is that of another entry": func(f *forger, i int) *message {
		from := f.before(i, (*sent).isEntry)
		if from == nil || !strings.Contains(string(from.body), `"proof"`) {
			return nil
		}
		return proofFault(func(*forger, string) (proof string) {
			altered(from.body, func(_, data map[string]any) { proof = data["proof"].(string) })
			return proof
		})(f, i)
	},
	"the proof is signed by nobody": func(f *forger, i int) *message {
		if f.python {
			return nil
		}
		return proofFault(func(f *forger, proof string) string {
			return f.another(proof, len(proof)-40, len(proof)-10)
		})(f, i)
	},

	// The server shows another log.
	"the log becomes smaller": func(f *forger, i int) *message {
		newest := f.before(i, isCheckpoint)
		older := f.before(i, func(w *sent) bool {
			return isCheckpoint(w) && w.Data.Size < newest.Data.Size
		})
		if older == nil {
			return nil
		}
		return f.signed(older.id, older.body)
	},
	"the log has another root than before": func(f *forger, i int) *message {
		newest := f.before(i, isCheckpoint)
		if newest == nil {
			return nil
		}
		return f.signed(newest.id, altered(newest.body, func(_, data map[string]any) {
			data["checkpoint"] = f.fork(newest.Data.Checkpoint)
		}))
	},
	"the log has another root than in a proof": func(f *forger, i int) *message {
		size := fmt.Sprintf("\\n%d\\n", f.stream[i].Data.Size) // as it stands in JSON
		if !isCheckpoint(f.stream[i]) || f.before(i, func(w *sent) bool {
			return w.isEntry() && strings.Contains(string(w.body), size)
		}) == nil {
			return nil
		}
		return f.alter(i, func(_, data map[string]any) {
			data["checkpoint"] = f.fork(f.stream[i].Data.Checkpoint)
		})
	},
	"the checkpoint is signed by nobody": func(f *forger, i int) *message {
		if f.python {
			return nil
		}
		return checkpointFault(func(f *forger, w *sent, _, data map[string]any) {
			data["checkpoint"] = f.another(w.Data.Checkpoint, len(w.Data.Checkpoint)-40,
				len(w.Data.Checkpoint)-10)
		})(f, i)
	},
	"the size is not that of the checkpoint": checkpointFault(func(_ *forger, _ *sent, _,
		data map[string]any,
	) {
		plus(data, "size", 1)
	}),
	"the id is not that of the checkpoint": func(f *forger, i int) *message {
		m := checkpointFault(func(_ *forger, w *sent, e, _ map[string]any) {
			e["id"] = fmt.Sprintf("checkpoint-%d", w.Data.Size+1)
		})(f, i)
		if m != nil {
			size := f.stream[i].Data.Size
			m.id = strings.TrimSuffix(m.id, fmt.Sprint(size)) + fmt.Sprint(size+1)
		}
		return m
	},
	"next is behind the end of the log": checkpointFault(func(_ *forger, _ *sent, _,
		data map[string]any,
	) {
		plus(data, "next", 1000)
	}),
	"next goes back": func(f *forger, i int) *message {
		if f.before(i, (*sent).isEntry) == nil {
			return nil
		}
		return checkpointFault(func(_ *forger, _ *sent, _, data map[string]any) { data["next"] = 0 })(f, i)
	},
	"the checkpoint is of another log": checkpointFault(func(_ *forger, w *sent, _,
		data map[string]any,
	) {
		data["checkpoint"] = "bank.example" + w.Data.Checkpoint[strings.Index(w.Data.Checkpoint, "\n"):]
	}),

	// An id has two contents.
	"an id comes again with another entry": func(f *forger, i int) *message {
		old := f.before(i, (*sent).isEntry)
		if old == nil {
			return nil
		}
		from := f.before(i, func(w *sent) bool { return w.isEntry() && w.id != old.id })
		if from == nil {
			return nil
		}
		return f.signed(old.id, altered(old.body, func(e, data map[string]any) {
			altered(from.body, func(other, others map[string]any) {
				e["type"], e["time"] = other["type"], other["time"]
				for _, name := range []string{"entry", "known", "leaf"} {
					delete(data, name)
					if others[name] != nil {
						data[name] = others[name]
					}
				}
			})
		}))
	},
	"a checkpoint comes again with another size in it": func(f *forger, i int) *message {
		two := []*sent{}
		for j := i - 1; j >= 0; j-- {
			if isCheckpoint(f.stream[j]) {
				two = append(two, f.stream[j])
			}
		}
		if len(two) < 2 || two[0].id == two[1].id {
			return nil
		}
		return f.signed(two[0].id, two[1].body)
	},

	// It is of another time, or for somebody else.
	"it is replayed from another day": func(f *forger, i int) *message {
		m := f.honest(f.IntN(i + 1))
		m.at = m.at.Add(-24 * time.Hour)
		return m
	},
	"it is older than five minutes": func(f *forger, i int) *message {
		m := f.honest(i)
		m.at = m.at.Add(-5*time.Minute - 2*time.Second)
		return m
	},
	"it is of a time that is to come": func(f *forger, i int) *message {
		m := f.honest(i)
		m.at = m.at.Add(6 * time.Minute)
		return m
	},
	"it is replayed from another subscription": func(f *forger, i int) *message {
		w := f.other[f.IntN(len(f.other))]
		return &message{id: w.id, at: time.Now(), body: w.body, key: f.others}
	},
	"it is of another subscription": func(f *forger, i int) *message {
		if i == 0 {
			return nil // nobody knows yet which one it is
		}
		w := f.other[f.IntN(len(f.other))]
		return f.signed(w.id, w.body)
	},

	// It is altered on the way, or forged.
	"a byte is altered on the way": onTheWay(func(f *forger, m *message) {
		m.body = []byte(f.another(string(m.body), 0, len(m.body)))
	}),
	"a byte is added on the way": onTheWay(func(_ *forger, m *message) {
		m.body = append(m.body, ' ')
	}),
	"the last byte is missing": onTheWay(func(_ *forger, m *message) {
		m.body = m.body[:len(m.body)-1]
	}),
	"webhook-id is altered": onTheWay(func(f *forger, m *message) {
		m.headers["Webhook-Id"] = f.another(m.id, 1, len(m.id))
	}),
	"webhook-timestamp is altered": onTheWay(func(_ *forger, m *message) {
		m.headers["Webhook-Timestamp"] = strconv.FormatInt(m.at.Unix()+1, 10)
	}),
	"the signature is altered": onTheWay(func(f *forger, m *message) {
		s := m.headers["Webhook-Signature"]
		m.headers["Webhook-Signature"] = f.another(s, 3, 40)
	}),
	"the signature is of another version": onTheWay(func(_ *forger, m *message) {
		m.headers["Webhook-Signature"] = strings.Replace(m.headers["Webhook-Signature"], "v1,",
			"v1a,", 1)
	}),
	"there is no signature": onTheWay(func(_ *forger, m *message) {
		m.headers["Webhook-Signature"] = ""
	}),
	"there are no headers": onTheWay(func(_ *forger, m *message) { clear(m.headers) }),
	"it is signed with a secret that is not ours": func(f *forger, i int) *message {
		m := f.honest(i)
		m.key = f.others
		return m
	},
	"it is signed with no secret": func(f *forger, i int) *message {
		m := f.honest(i)
		m.key = webhook.NewKey([32]byte{}, [32]byte{1})
		return m
	},
	"the signature is of another body": func(f *forger, i int) *message {
		m := f.honest(i)
		body := altered(m.body, func(e, _ map[string]any) { e["subject"] = "999" })
		m.onTheWay = func(m *message) { m.body = body }
		return m
	},
}

func init() {
	for _, member := range []string{
		"specversion", "id", "source", "type", "time", "datacontenttype", "data", "subject",
		"data.entry", "data.index", "data.leaf", "data.previous", "data.from", "data.proof",
		"data.checkpoint", "data.size", "data.next",
	} {
		faults[member+" is altered on the way"] = onTheWay(func(_ *forger, m *message) {
			m.body = altered(m.body, func(e, data map[string]any) {
				if name, is := strings.CutPrefix(member, "data."); is {
					data[name] = "something else"
				} else {
					e[name] = "something else"
				}
			})
		})
	}
}

func isCheckpoint(w *sent) bool { return w.Type == "atm.checkpoint" }

// keyOf is the key that a secret (whsec_) is of.
func keyOf(t *testing.T, secret string) webhook.Key {
	t.Helper()
	bytes, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(bytes) != 32 {
		t.Fatalf("%q: %v", secret, err)
	}
	return webhook.NewKey([32]byte(bytes), [32]byte{})
}

// logSigner signs as the log of a server does.
func logSigner(t *testing.T, s *server) note.Signer {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "atm-data", "keys", "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	ed25519, _, _ := strings.Cut(string(text), "\n")
	signer, err := note.NewSigner(ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// names are those of the faults, in an order that depends on the seed alone.
func (f *forger) names() []string {
	names := slices.Sorted(maps.Keys(faults))
	f.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}
