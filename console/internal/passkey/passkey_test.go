package passkey_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/atm/console/internal/passkey"
	"example.com/atm/teller/sessions"
)

var key = bytes.Repeat([]byte{1}, 32)

func newSite(t testing.TB) *passkey.Site {
	t.Helper()
	s, err := passkey.New("https://bank.example:9000", "bank", key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func nobody(string) (*sessions.Passkey, error) { return nil, nil }

func TestSiteIsANameAndNoAddress(t *testing.T) {
	for at, want := range map[string]string{
		"https://bank.example":        "https://bank.example",
		"https://bank.example:9000/x": "https://bank.example:9000",
		"https://127.0.0.1:9000":      "https://localhost:9000",
		"https://[::1]:9000":          "https://localhost:9000",
		"https://192.0.2.1:9000":      "",
		"https://[2001:db8::1]":       "",
	} {
		s, err := passkey.New(at, "bank", key)
		switch {
		case want == "" && !errors.Is(err, passkey.ErrName):
			t.Errorf("%s: %v", at, err)
		case want != "" && (err != nil || s.Origin() != want):
			t.Errorf("%s: %v", at, err)
		}
	}
}

// TestChallengeIsForOneBrowserOnePurposeAndAWhile opens the state of a challenge where it does
// not belong. In its place it is opened, and the response is what is wrong.
func TestChallengeIsForOneBrowserOnePurposeAndAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, mine := newSite(t), passkey.Purpose{Act: "sign in", Browser: "mine"}
		c, err := s.Request(mine, nil)
		if err != nil {
			t.Fatal(err)
		}
		other, err := passkey.New("https://bank.example:9000", "bank", bytes.Repeat([]byte{2}, 32))
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name  string
			site  *passkey.Site
			p     passkey.Purpose
			state string
		}{
			{"another browser", s, passkey.Purpose{Act: "sign in", Browser: "other"}, c.State},
			{"no browser", s, passkey.Purpose{Act: "sign in"}, c.State},
			{"another purpose", s, passkey.Purpose{Act: "add", Browser: "mine"}, c.State},
			{
				"a browser and a purpose that run together", s,
				passkey.Purpose{Act: "in", Browser: "mine sign"},
				c.State,
			},
			{"another key", other, mine, c.State},
			{"nothing", s, mine, ""},
			{"a letter more", s, mine, c.State + "A"},
		} {
			if _, err := tt.site.Asserted(tt.p, tt.state, "{}", nobody); !errors.Is(err,
				passkey.ErrForeign) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		time.Sleep(passkey.Life)
		if _, err := s.Asserted(mine, c.State, "{}", nobody); err == nil ||
			errors.Is(err, passkey.ErrForeign) || errors.Is(err, passkey.ErrLate) {
			t.Errorf("in its place: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := s.Asserted(mine, c.State, "{}", nobody); !errors.Is(err, passkey.ErrLate) {
			t.Errorf("too late: %v", err)
		}
	})
}

// TestRequestIsOverWhatIsShown asks for one of the passkeys of a user over a hash.
func TestRequestIsOverWhatIsShown(t *testing.T) {
	shown := sha256.Sum256([]byte("Transfer $40.00 from account 100 to account 200."))
	c, err := newSite(t).Request(passkey.Purpose{Act: "confirm", Browser: "b"}, shown[:],
		sessions.Passkey{ID: "AAEC", Transports: []string{"internal"}})
	if err != nil {
		t.Fatal(err)
	}
	var asked struct {
		Challenge        string
		UserVerification string
		RPID             string
		AllowCredentials []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(c.Options), &asked); err != nil {
		t.Fatal(err)
	}
	if asked.Challenge != base64.RawURLEncoding.EncodeToString(shown[:]) ||
		asked.UserVerification != "required" || asked.RPID != "bank.example" ||
		len(asked.AllowCredentials) != 1 || asked.AllowCredentials[0].ID != "AAEC" {
		t.Errorf("asked for %s", c.Options)
	}
}

// FuzzResponse reads responses that no device made. None is good.
func FuzzResponse(f *testing.F) {
	f.Add(`{}`)
	f.Add(`{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":"e30",` +
		`"authenticatorData":"AAAA","signature":"AAAA","userHandle":"AAAA"}}`)
	f.Add(`{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":"e30",` +
		`"attestationObject":"o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YUEA"}}`)
	s, p := newSite(f), passkey.Purpose{Act: "sign in", Browser: "b"}
	found := func(id string) (*sessions.Passkey, error) {
		return &sessions.Passkey{ID: id, Subject: "user:a", Key: []byte{0xa0}}, nil
	}
	f.Fuzz(func(t *testing.T, response string) {
		asked, err := s.Request(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := s.Asserted(p, asked.State, response, found); err == nil {
			t.Errorf("%q is taken for %+v", response, a)
		}
		made, err := s.Create(p, "user:a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := s.Created(p, "user:a", made.State, response); err == nil {
			t.Errorf("%q is taken for %+v", response, c)
		}
	})
}
