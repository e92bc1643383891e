// Package merkle keeps the RFC 6962 Merkle tree of a log: its head in memory, and
// the tiles and bundles that a published log consists of (C2SP tlog-tiles).
//
// Everything here is arithmetic on hashes and bytes. The package reads no file and
// knows no entry: a leaf is bytes, hashed as they are. Proofs and node hashes come
// from golang.org/x/mod/sumdb/tlog; the layout is our own code because tlog's tiles
// have other paths and no bundles of entries.
package merkle
