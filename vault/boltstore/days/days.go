// Package days keeps account of which days a file has request ids of: they are looked up by the
// day that they were answered on, and swept day by day.
package days

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/requestid"
	bolt "go.etcd.io/bbolt"
)

// atOnce bounds how many request ids that are no longer kept one call of Expire deletes.
const atOnce = 16 << 10

// A Day is one that there are request ids of.
type Day struct {
	Number uint32        // since 1970, in UTC
	Last   requestid.Key // the greatest of its ids
}

// Kept returns the days that the bucket has requests of, the newest first.
// There are at most as many as requests are kept for, but for days that are
// being swept away.
func Kept(bucket *bolt.Bucket) []Day {
	var days []Day
	c := bucket.Cursor()
	for k, _ := c.Last(); len(k) == len(codec.Request{}); k, _ = c.Prev() {
		d := Day{binary.BigEndian.Uint32(k), requestid.Key(k[4:])}
		days = append(days, d)
		first := codec.NewRequest(d.Number, requestid.Key{})
		if k, _ := c.Seek(first[:]); k == nil {
			break
		}
	}
	return days
}

// Note returns days with that of now, if there are these request ids of it.
func Note(days []Day, now time.Time, requests []vault.AnsweredRequest) []Day {
	if len(requests) == 0 {
		return days
	}
	number := Of(now)
	i := slices.IndexFunc(days, func(d Day) bool { return d.Number <= number })
	if i < 0 {
		i = len(days)
	}
	if i == len(days) || days[i].Number != number {
		days = slices.Insert(days, i, Day{Number: number})
	}
	for _, r := range requests {
		if bytes.Compare(r.Key[:], days[i].Last[:]) > 0 {
			days[i].Last = r.Key
		}
	}
	return days
}

// Of numbers the days since 1970, in UTC.
func Of(t time.Time) uint32 { return uint32(t.Unix() / (24 * 60 * 60)) }

// Oldest is the oldest day whose request ids are kept.
func Oldest(now time.Time) uint32 {
	if now.IsZero() { // nothing was committed yet since the start
		return 0
	}
	return Of(now.Add(-requestid.Life))
}

// Expire sweeps some of the request ids away that are no longer kept: not all at
// once, so that no commit waits for the ids of a whole day.
func Expire(requests *bolt.Bucket, now time.Time) error {
	oldest := Oldest(now)
	c := requests.Cursor()
	var old [][]byte
	for k, _ := c.First(); k != nil && binary.BigEndian.Uint32(k) < oldest &&
		len(old) < atOnce; k, _ = c.Next() {
		old = append(old, bytes.Clone(k))
	}
	for _, k := range old {
		if err := requests.Delete(k); err != nil {
			return err
		}
	}
	return nil
}
