package forms

import (
	"net/url"
	"strings"
)

// CommandLine writes a command as a shell reads it.
func CommandLine(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.Trim(w, plainCharacters) != "" {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// flags are those fields of a form as flags that have a value.
func flags(f url.Values, names ...string) (words []string) {
	for _, name := range names {
		if value := f.Get(strings.ReplaceAll(name, "-", "_")); value != "" {
			words = append(words, "--"+name, value)
		}
	}
	return words
}

// repeated gives a flag to each word.
func repeated(flag, words string) (list []string) {
	for word := range strings.FieldsSeq(words) {
		list = append(list, flag, word)
	}
	return list
}

// plainCharacters mean themselves to a shell.
const plainCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" +
	"-_./:,=+@%"
