// Package policy says which witnesses must have cosigned the checkpoint of a log (C2SP
// tlog-policy).
package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/atm/audit/checkpoint"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// A Policy lists known logs and witnesses, and how many witnesses must have cosigned a
// checkpoint (C2SP tlog-policy).
type Policy struct {
	Logs      []string // public keys; empty if the policy names none
	Witnesses []Witness

	groups map[string]group
	quorum string
}

// A Witness cosigns checkpoints of logs that it has seen grow.
type Witness struct {
	Name     string        // in the policy
	URL      string        // prefix for submissions; empty if the policy has none
	Verifier note.Verifier // of its cosignatures
}

type group struct {
	members   []string
	threshold int
}

const (
	noQuorum = "none"

	maxPolicyBytes = 256 << 10 // a key of ML-DSA-44 has 1,800
	maxPolicyNames = 256       // logs, witnesses and groups together
)

// Err reports text that is no policy.
var Err = errors.New("no tlog-policy")

// Parse reads a policy.
func Parse(text []byte) (*Policy, error) {
	if len(text) > maxPolicyBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", Err, maxPolicyBytes)
	}
	p := &Policy{groups: make(map[string]group)}
	used := make(map[string]bool) // members of a group so far
	number := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		number++
		if strings.ContainsFunc(line, func(r rune) bool {
			return r < ' ' && r != '\t' || r == 0x7f
		}) {
			return nil, fmt.Errorf("%w: line %d has a control character", Err, number)
		}
		words := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := p.line(words, used); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", Err, number, err)
		}
		if len(p.Logs)+len(p.Witnesses)+len(p.groups) > maxPolicyNames {
			return nil, fmt.Errorf("%w: more than %d names", Err, maxPolicyNames)
		}
	}
	if p.quorum == "" {
		return nil, fmt.Errorf("%w: it has no quorum", Err)
	}
	return p, nil
}

func (p *Policy) line(words []string, used map[string]bool) error {
	switch kind, args := words[0], words[1:]; {
	case kind == "log" && (len(args) == 1 || len(args) == 2):
		if _, err := checkpoint.OriginOf(args[0]); err != nil {
			return err
		}
		if slices.Contains(p.Logs, args[0]) {
			return errors.New("the log is named twice")
		}
		p.Logs = append(p.Logs, args[0])
	case kind == "witness" && (len(args) == 2 || len(args) == 3):
		verifier, err := cosignature.NewVerifierForCosignatureV1(args[1])
		if err != nil {
			return checkpoint.ErrKey
		}
		w := Witness{Name: args[0], Verifier: verifier}
		if len(args) == 3 {
			w.URL = args[2]
		}
		if p.known(w.Name) || w.Name == noQuorum {
			return errors.New("the name is used twice")
		}
		for _, other := range p.Witnesses {
			if other.Verifier.KeyHash() == verifier.KeyHash() &&
				other.Verifier.Name() == verifier.Name() {
				return errors.New("the witness is named twice")
			}
		}
		p.Witnesses = append(p.Witnesses, w)
	case kind == "group" && len(args) >= 3:
		return p.group(args[0], args[1], args[2:], used)
	case kind == "quorum" && len(args) == 1:
		if p.quorum != "" {
			return errors.New("there is a second quorum")
		}
		if args[0] != noQuorum && !p.known(args[0]) {
			return fmt.Errorf("%s is not known", args[0])
		}
		p.quorum = args[0]
	default:
		return errors.New("want log, witness, group or quorum")
	}
	return nil
}

func (p *Policy) group(name, threshold string, members []string, used map[string]bool) error {
	if p.known(name) || name == noQuorum {
		return errors.New("the name is used twice")
	}
	for _, member := range members {
		if !p.known(member) {
			return fmt.Errorf("%s is not known", member)
		}
		if used[member] {
			return fmt.Errorf("%s is a member twice", member)
		}
		used[member] = true
	}
	g := group{members: members}
	switch threshold {
	case "all":
		g.threshold = len(members)
	case "any":
		g.threshold = 1
	default:
		k, err := strconv.Atoi(threshold)
		if err != nil || k < 1 || k > len(members) || strconv.Itoa(k) != threshold {
			return fmt.Errorf("threshold %q of %d members", threshold, len(members))
		}
		g.threshold = k
	}
	p.groups[name] = g
	return nil
}

func (p *Policy) known(name string) bool {
	if _, isGroup := p.groups[name]; isGroup {
		return true
	}
	return slices.ContainsFunc(p.Witnesses, func(w Witness) bool { return w.Name == name })
}

// Cosigned returns the names of the witnesses that cosigned a checkpoint.
func (p *Policy) Cosigned(signed []byte) []string {
	var names []string
	for _, w := range p.Witnesses {
		if _, err := note.Open(signed, note.VerifierList(w.Verifier)); err == nil {
			names = append(names, w.Name)
		}
	}
	return names
}

// Satisfied reports whether enough witnesses are among those named.
func (p *Policy) Satisfied(cosigned []string) bool {
	return p.quorum == noQuorum || p.witnessed(p.quorum, cosigned)
}

func (p *Policy) witnessed(name string, cosigned []string) bool {
	g, isGroup := p.groups[name]
	if !isGroup {
		return slices.Contains(cosigned, name)
	}
	n := 0
	for _, member := range g.members {
		if p.witnessed(member, cosigned) {
			n++
		}
	}
	return n >= g.threshold
}

// Lines returns the signature lines in the answer of a witness that are its cosignatures of the
// checkpoint.
func (w Witness) Lines(signed, answer []byte) ([]byte, error) {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	n, err := note.Open([]byte(text+"\n\n"+string(answer)), note.VerifierList(w.Verifier))
	if err != nil {
		return nil, errors.New("its answer has no cosignature by its key")
	}
	var lines strings.Builder
	for _, sig := range n.Sigs {
		fmt.Fprintf(&lines, "— %s %s\n", sig.Name, sig.Base64)
	}
	return []byte(lines.String()), nil
}
