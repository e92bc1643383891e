package ctl

import (
	"strings"

	"example.com/atm"
	"example.com/atm/cmd/internal/exit"
)

// RoleNames are the roles that a subject may have.
var RoleNames = []string{
	string(atm.Auditor), string(atm.Customer), string(atm.Operator), string(atm.Service),
	string(atm.Teller),
}

// CheckRoles refuses names that are no roles.
func CheckRoles(roles []string) error {
	for _, role := range roles {
		if _, known := atm.ParseRole(role); !known {
			return exit.Usagef("there is no role %q%s", role, exit.DidYouMean(role, RoleNames...))
		}
	}
	return nil
}

// Subject is the subject for a name: user:NAME, unless the name includes a kind.
func Subject(name string) (string, error) {
	subject := name
	if !strings.Contains(name, ":") {
		subject = "user:" + name
	}
	if _, _, ok := atm.ParseSubject(subject); !ok {
		return "", exit.Usagef("%q is not a name: a name has 1 to 64 letters, digits and . _ -", name)
	}
	return subject, nil
}
