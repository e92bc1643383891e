package settings

import (
	"strings"

	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/pflag"
)

// inFolder is the URL of the store in the data folder.
const inFolder = "bolt:"

// Store has the flags that say where the accounts are.
type Store struct{ url, passwordFile string }

// AddFlags adds the flags.
func (s *Store) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.url, "store", inFolder, "`URL` of where accounts are: bolt: is the data "+
		"folder; postgres://USER@HOST/DATABASE is a database, and dynamodb://TABLE?region=REGION "+
		"a table of Amazon DynamoDB, that several servers share")
	flags.StringVar(&s.passwordFile, "store-password-file", "", "`file` with the password for "+
		"PostgreSQL; - for standard input")
}

// URL returns the URL of the database, or "" for the data folder.
func (s *Store) URL() (string, error) {
	switch {
	case s.url == inFolder:
		return "", nil
	case strings.HasPrefix(s.url, "postgres://"), strings.HasPrefix(s.url, "postgresql://"):
		return s.url, nil
	case strings.HasPrefix(s.url, "dynamodb://"):
		if s.passwordFile != "" {
			return "", exit.Usagef("--store-password-file is for PostgreSQL; credentials for a " +
				"table come from where the AWS command line finds them")
		}
		return s.url, nil
	}
	return "", exit.Usagef("--store is bolt:, postgres://USER@HOST/DATABASE or " +
		"dynamodb://TABLE?region=REGION; what was given is none of them, and is not repeated, " +
		"because it may have a password in it")
}

// Password reads the password of the database. It is nil if no file is named.
func (s *Store) Password() func() ([]byte, error) {
	if s.passwordFile == "" {
		return nil
	}
	return Passphrase(s.passwordFile, "Password of the database")
}
