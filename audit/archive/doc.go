// Package archive keeps what a server no longer has: the published log beyond its window, and the
// snapshots that its accounts are rebuilt from.
//
// An archive grows by chapters. A chapter is a signed checkpoint of the log, everything of the log
// up to it that the archive lacked, and a snapshot of the accounts. Its checkpoint is written
// last, so a chapter that has one is complete. Objects never change and are never deleted: what is
// there already must be what would have been written. Nothing is written that does not hash to
// the signed root.
//
// An archive is a log for auditors: its files are those of C2SP tlog-tiles, and its checkpoint is
// that of the newest chapter. Package archive interprets no snapshot; it only keeps it.
package archive
