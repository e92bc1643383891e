package dynstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"example.com/atm/vault/codec"
	"example.com/atm/vault/dynstore/table"
)

// A PK is the name of a kind, and of one of its shards: items with one PK lie together, and what
// lies together can be written only so fast.

// How many shards a kind has, so that its items can be written fast from the start: DynamoDB splits
// what stays hot by itself. Each pass over all items asks for every shard.
const (
	manyShards = 16 // of what changes with nearly every operation
	fewShards  = 4
)

// shardKey is the key of an item in one of the shards of its kind.
func shardKey(kind, sk string, shards int) table.Key {
	h := fnv.New32a()
	h.Write([]byte(sk))
	return table.Key{PK: shardPK(kind, int(h.Sum32()%uint32(shards))), SK: sk}
}

func shardPK(kind string, shard int) string { return kind + "#" + strconv.FormatInt(int64(shard), 16) }

const (
	// maxSK bounds an SK, of which DynamoDB allows 1,024 bytes.
	maxSK = 1000

	emptySK = "%"  // of the empty key, because an SK is never empty
	hashSK  = "%#" // begins the SK of a key that is too long: its hash follows
)

// textSK is the SK of a key that is text. Letters that a table may order in its own way, or a
// console not show, are written as %XX. Callers may ask for keys of any length.
func textSK(key []byte) string {
	if len(key) == 0 {
		return emptySK
	}
	var b strings.Builder
	for _, c := range key {
		if c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() > maxSK {
		hash := sha256.Sum256(key)
		return hashSK + hex.EncodeToString(hash[:])
	}
	return b.String()
}

// longOf is what an item has beside an SK that is a hash: the key.
func longOf(sk string, key []byte) []byte {
	if !strings.HasPrefix(sk, hashSK) {
		return nil
	}
	return key
}

// textOf reads the key that textSK was given, of which long has what longOf returned.
func textOf(sk string, long []byte) ([]byte, error) {
	switch {
	case sk == emptySK:
		return nil, nil
	case strings.HasPrefix(sk, hashSK) && textSK(long) == sk:
		return long, nil
	}
	var key []byte
	for i := 0; i < len(sk); i++ {
		if sk[i] != '%' {
			key = append(key, sk[i])
			continue
		}
		if i+2 >= len(sk) {
			return nil, codec.ErrForm
		}
		c, err := hex.DecodeString(sk[i+1 : i+3])
		if err != nil {
			return nil, codec.ErrForm
		}
		key = append(key, c...)
		i += 2
	}
	return key, nil
}

// numberSK is the SK of a key that is a number, in the order of numbers.
func numberSK(key []byte) string { return hex.EncodeToString(key) }

func numberOf(sk string) ([]byte, error) {
	key, err := hex.DecodeString(sk)
	if err != nil {
		return nil, codec.ErrForm
	}
	return key, nil
}

// Keys of single items.
var (
	baseKey         = table.Key{PK: "base", SK: "-"}
	installationKey = table.Key{PK: "installation", SK: "-"}
)

const (
	indexDigits  = 20
	bucketWidth  = 256 // entries whose chunks have one PK
	bucketDigits = 18
)

func journalPK(index int64) string {
	return fmt.Sprintf("journal#%0*d", bucketDigits, index/bucketWidth)
}

func journalSK(index int64) string { return fmt.Sprintf("%0*d", indexDigits, index) }
