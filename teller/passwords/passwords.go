// Package passwords says which passwords are good enough, and what HTTP Digest keeps of one.
package passwords

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// HA1 is what Digest checks a password by (RFC 7616, section 3.4.2), in the
// hexadecimal form in which it is hashed on.
func HA1(name, realm, password string) []byte {
	sum := sha256.Sum256([]byte(name + ":" + realm + ":" + password))
	return []byte(hex.EncodeToString(sum[:]))
}

const (
	minLength = 15  // characters (NIST SP 800-63B, section 3.1.1.2)
	maxBytes  = 256 // bytes
)

// Check refuses what is easily guessed: what is short, has few
// different characters, runs through an alphabet, or is made of words that
// everybody tries.
func Check(password, name, realm string) error {
	switch n := utf8.RuneCountInString(password); {
	case n < minLength || len(password) > maxBytes:
		return fmt.Errorf("a password has %d to %d characters", minLength, maxBytes)
	case strings.HasPrefix(password, "\ufeff"):
		return errors.New("a password does not begin with a byte order mark")
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("a password has no control characters")
	}
	distinct := make(map[rune]bool)
	runs, last := 0, rune(0)
	for _, r := range password {
		distinct[r] = true
		if r-last == 1 || last-r == 1 || r == last {
			runs++
		}
		last = r
	}
	rest := strings.ToLower(password)
	for _, word := range append(slices.Clone(commonWords), strings.ToLower(name),
		strings.ToLower(realm)) {
		if len(word) >= 3 {
			rest = strings.ReplaceAll(rest, word, "")
		}
	}
	if len(distinct) < 6 || runs > len(password)/2 || utf8.RuneCountInString(rest) < minLength/2 {
		return errors.New("the password is too easily guessed")
	}
	return nil
}

// commonWords are what long passwords are usually made of.
var commonWords = []string{
	"password", "passwort", "passw0rd", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwerty", "qwertz",
	"letmein", "welcome", "iloveyou",
	"admin", "secret", "monkey", "dragon", "sunshine", "princess", "football", "baseball",
	"superman", "master", "shadow",
	"1234567890", "0987654321", "123456", "654321", "abc123", "login", "changeme", "default",
}
