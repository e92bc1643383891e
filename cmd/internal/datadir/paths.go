package datadir

import "path/filepath"

// Paths are the paths in a data folder.
type Paths struct{ Root string }

// At is the folder at root, neither read nor locked.
func At(root string) *Dir { return &Dir{Paths: Paths{Root: root}} }

// Path is a path in the folder.
func (p Paths) Path(elem ...string) string {
	return filepath.Join(append([]string{p.Root}, elem...)...)
}

// Vault is the file with the accounts, if they are in the folder.
func (p Paths) Vault() string { return p.Path("vault.db") }

const snapshots = "snapshots"

// Snapshots is the folder of the snapshots that a trimmed journal begins with.
func (p Paths) Snapshots() string { return p.Path(snapshots) }

// Audit is the folder of the published audit log.
func (p Paths) Audit() string { return p.Path("audit") }

// Signed is the folder with what proves that requests were signed. It is made when the first one
// arrives.
func (p Paths) Signed() string { return p.Path("signed") }

// VaultKey is the key that seals the vault, AuditKey the key that signs the audit log, and
// TokenKey the key that signs tokens.
func (p Paths) VaultKey() string { return p.Path("keys", "vault.key") }
func (p Paths) AuditKey() string { return p.Path("keys", "audit.key") }
func (p Paths) TokenKey() string { return p.Path("keys", "token.key") }

// AuditRotation keeps a rotation of the log's key until its entry is written.
func (p Paths) AuditRotation() string { return p.Path("keys", "audit.rotation") }

// RootCA, ServerCA and ClientCA are the certificates and keys of the authorities.
func (p Paths) RootCA() (cert, key string)   { return p.pair("ca", "ca") }
func (p Paths) ServerCA() (cert, key string) { return p.pair("ca", "servers") }
func (p Paths) ClientCA() (cert, key string) { return p.pair("ca", "clients") }

// OldClientCA is the certificate of the clients' authority before a rollover.
func (p Paths) OldClientCA() string { return p.Path("ca", "clients.old.crt") }

// Server is the certificate and key of the server.
func (p Paths) Server() (cert, key string) { return p.pair("tls", "server") }

func (p Paths) pair(folder, name string) (cert, key string) {
	return p.Path(folder, name+".crt"), p.Path(folder, name+".key")
}

// Client is the folder of the credentials that init created for a user.
func (p Paths) Client(user string) string { return p.Path("clients", user) }

// Requests is the folder in which the owner of the disk leaves requests for a running server.
func (p Paths) Requests() string { return p.Path("requests") }
