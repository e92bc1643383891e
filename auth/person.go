package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/atm"
)

// People says whom the claims of a token name, and in which of their roles they act.
type People struct {
	// Claim names the subject: "sub", or "email" if email_verified is true.
	Claim    string
	Subjects map[string]string // subjects of this server by the value of the claim

	// Groups is the claim with the groups of a person, and Roles has the roles in which each group
	// lets its members act, sorted. A role is in force if the subject has it here, and a group
	// names it: groups narrow, so nobody has a role that is not in the audit log. Without Groups
	// all roles of the subject are in force.
	Groups string
	Roles  map[string][]atm.Role
}

// A Person is whom the claims of a token name.
type Person struct {
	Subject string     // of this server
	Value   string     // of the claim that names the subject
	Roles   []atm.Role // in which the groups let the subject act; nil for all that it has
}

// ErrUnverified reports an email address that its issuer has not verified.
var ErrUnverified = &Error{"token with an email address that is not verified"}

// ErrNoRole reports a person whom no group lets act in any role.
var ErrNoRole = &Error{"token of nobody in a group with a role"}

// Person returns the person whom the claims of a token name.
func (p *People) Person(claims map[string]json.RawMessage) (Person, error) {
	if p.Claim == "email" && string(claims["email_verified"]) != "true" {
		return Person{}, ErrUnverified
	}
	value := word(claims[p.Claim])
	subject, mapped := p.Subjects[value]
	if !mapped {
		return Person{}, &Error{"token of another issuer without an identity"}
	}
	roles, err := p.roles(claims[p.Groups])
	return Person{subject, value, roles}, err
}

// roles returns the roles that the value of the claim Groups names, sorted; nil for all.
func (p *People) roles(raw json.RawMessage) ([]atm.Role, error) {
	if p.Groups == "" {
		return nil, nil
	}
	groups := []string{word(raw)}
	if groups[0] == "" && raw != nil && json.Unmarshal(raw, &groups) != nil {
		return nil, &Error{"token with groups that cannot be read"}
	}
	if len(groups) > maxGroups {
		return nil, &Error{"token with too many groups"}
	}
	roles := make(map[atm.Role]bool)
	for _, group := range groups {
		for _, role := range p.Roles[group] {
			roles[role] = true
		}
	}
	if len(roles) == 0 {
		return nil, ErrNoRole
	}
	return slices.Sorted(maps.Keys(roles)), nil
}

// sets are the sets of roles that roles can return.
func (p *People) sets() [][]atm.Role {
	if p.Groups == "" {
		return [][]atm.Role{nil}
	}
	all := make(map[atm.Role]bool)
	for _, roles := range p.Roles {
		for _, role := range roles {
			all[role] = true
		}
	}
	named := slices.Sorted(maps.Keys(all)) // five at most, so there are at most 31 sets
	var sets [][]atm.Role
	for bits := 1; bits < 1<<len(named); bits++ {
		var set []atm.Role
		for i, role := range named {
			if bits&(1<<i) != 0 {
				set = append(set, role)
			}
		}
		sets = append(sets, set)
	}
	return sets
}

// among returns the roles of a member in which a person acts. It is an error if there is none.
func (p *Person) among(has []atm.Role) ([]atm.Role, error) {
	if p.Roles == nil {
		return has, nil
	}
	var both []atm.Role
	for _, role := range has {
		if slices.Contains(p.Roles, role) {
			both = append(both, role)
		}
	}
	if both == nil {
		return nil, ErrNoRole
	}
	return both, nil
}

func (p *People) check() error {
	if p.Claim != "sub" && p.Claim != "email" {
		return fmt.Errorf("the claim is sub or email, not %q", p.Claim)
	}
	for value, subject := range p.Subjects {
		if _, _, ok := atm.ParseSubject(subject); !ok || value == "" {
			return fmt.Errorf("%q is not a subject", subject)
		}
	}
	if (p.Groups == "") != (len(p.Roles) == 0) {
		return errors.New("the claim of groups and the roles of groups go together")
	}
	if len(p.Subjects) > maxMapped || len(p.Roles) > maxGroups {
		return fmt.Errorf("it has more than %d subjects, or roles of more than %d groups",
			maxMapped, maxGroups)
	}
	for group, roles := range p.Roles {
		for _, role := range roles {
			if _, known := atm.ParseRole(string(role)); !known {
				return fmt.Errorf("the group %s has the role %q, which is none", group, role)
			}
		}
		if group == "" || len(roles) == 0 || strings.TrimSpace(group) != group {
			return fmt.Errorf("the group %q has no name, or no role", group)
		}
	}
	return nil
}
