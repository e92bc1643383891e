package passwords_test

import (
	"strings"
	"testing"

	"example.com/atm/teller/passwords"
)

func TestPasswordThatIsEasilyGuessedIsRefused(t *testing.T) {
	for password, want := range map[string]string{
		"violet kettle under 7 stairs":       "",
		"Grün ist die Wiese am Fluss":        "",
		"short":                              "15 to 256",
		"fourteen chars":                     "15 to 256",
		strings.Repeat("long enough ", 22):   "15 to 256",
		"\ufeffviolet kettle under 7 stairs": "byte order mark",
		"violet kettle\nunder 7 stairs":      "control characters",
		"violet kettle \xff under 7 stairs":  "control characters",
		"aaaaaaaaaaaaaaaaaaaa":               "easily guessed",
		"abababababababababab":               "easily guessed",
		"abcdefghijklmnopqrstuvwxyz":         "easily guessed",
		"password password password":         "easily guessed",
		"Password1234567890":                 "easily guessed",
		"alice alice alice alice":            "easily guessed",
		"bank.example bank.example":          "easily guessed",
	} {
		err := passwords.Check(password, "alice", "bank.example")
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", password, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", password, err, want)
		}
	}
}

// The example of RFC 7616, section 3.9.1, whose response follows from this value.
func TestHA1IsThatOfTheStandard(t *testing.T) {
	const want = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"
	got := string(passwords.HA1("Mufasa", "http-auth@example.org", "Circle of Life"))
	if got != want {
		t.Errorf("HA1 is %s, want %s", got, want)
	}
}
