// Package merkle implements the RFC 6962 Merkle tree of a log: its head in memory, and the
// tiles and bundles of a published log (C2SP tlog-tiles).
//
// The package computes on hashes and bytes. It reads no files and does not interpret entries: a
// leaf is bytes, hashed as they are. Proofs and node hashes come from
// golang.org/x/mod/sumdb/tlog. The layout of tiles is implemented here, because tlog's tiles
// have other paths and no bundles of entries.
package merkle
