package auth

import (
	"encoding/json"
	"slices"
	"strings"

	"example.com/atm"
)

// Details are the authorization details (RFC 9396) of a requested grant.
type Details struct {
	Type     string   `json:"type"`
	Accounts []string `json:"accounts"`
	Actions  []string `json:"actions"`
	Cap      string   `json:"cap"`
}

// ParseDetails parses the authorization details of exactly one grant. Each member must be
// known, occur once, and be spelled exactly.
func ParseDetails(written string) (*Details, bool) {
	if !distinct([]byte(written)) {
		return nil, false
	}
	var list []map[string]json.RawMessage
	if json.Unmarshal([]byte(written), &list) != nil || len(list) != 1 {
		return nil, false
	}
	d := &Details{}
	for name, raw := range list[0] {
		var ok bool
		switch name {
		case "type":
			d.Type, ok = text(raw)
		case "cap":
			d.Cap, ok = text(raw)
		case "accounts":
			d.Accounts, ok = texts(raw)
		case "actions":
			d.Actions, ok = texts(raw)
		}
		if !ok {
			return nil, false
		}
	}
	accounts := !slices.ContainsFunc(d.Accounts, func(account string) bool {
		_, ok := atm.ParseAccountID(account)
		return !ok
	})
	actions := !slices.ContainsFunc(d.Actions, func(action string) bool {
		return !Covers(atm.Operation(action))
	})
	return d, d.Type == GrantType && len(d.Accounts) > 0 && accounts && len(d.Actions) > 0 &&
		actions && strings.TrimSpace(d.Cap) != ""
}

// texts parses a JSON array of strings.
func texts(raw json.RawMessage) ([]string, bool) {
	var list []*string
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	found := make([]string, 0, len(list))
	for _, s := range list {
		if s == nil {
			return nil, false
		}
		found = append(found, *s)
	}
	return found, true
}
