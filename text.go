package atm

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

// Text for people is bounded in characters and in bytes, so that an entry of the audit log has
// all of it.
const (
	maxTextCharacters = 140
	maxTextBytes      = 256
)

// ErrText reports text for people that is too long, or has invisible characters.
var ErrText = errors.New("1 to 140 characters, at most 256 bytes, none of which is a control or " +
	"direction character or invisible, and no space at either end")

// ErrMemo reports a memo that is too long, or could change the display of other text.
var ErrMemo = errors.New("a memo is text of at most 140 characters and 256 bytes, without " +
	"control and direction characters")

// MemoArg is the name of the argument in which a call, and its entry, has a memo.
const MemoArg = "memo"

// CheckMemo checks a memo, a person's own words about a movement. Unlike a name it depends on
// nothing, so it may have every character but those that end a line, move a cursor or turn the
// direction of other text. The empty text is no memo.
func CheckMemo(s string) error {
	if len(s) > maxTextBytes || utf8.RuneCountInString(s) > maxTextCharacters ||
		!utf8.ValidString(s) {
		return ErrMemo
	}
	for _, c := range s {
		if unicode.In(c, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control,
			unicode.Noncharacter_Code_Point) {
			return ErrMemo
		}
	}
	return nil
}

// CheckText checks text for people, such as the name of a holder. It must look the same
// wherever it is displayed, and not change the display of other text.
func CheckText(s string) error {
	if s == "" || len(s) > maxTextBytes || utf8.RuneCountInString(s) > maxTextCharacters ||
		s[0] == ' ' || s[len(s)-1] == ' ' {
		return ErrText
	}
	for _, c := range s {
		if !unicode.IsPrint(c) || c == utf8.RuneError || invisible(c) {
			return ErrText
		}
	}
	return nil
}
