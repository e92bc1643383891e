package sessions

import "example.com/atm/vault/people"

// A Passkey and a Session are those of package people, for faces, which know no vault.
type (
	Passkey = people.Passkey
	Session = people.Session
)
