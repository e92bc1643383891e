package table

import (
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A Key names an item: items with one PK lie together, in order of SK.
type Key struct{ PK, SK string }

// An Item is what a table has under a key.
type Item struct {
	Key
	Version uint64 // of the commit, or the use, that wrote it
	Data    []byte
	Long    []byte // what SK stands for, when that is too long for one; nil for SK itself

	// Was is what the item was when a snapshot began that is still read, if it was written after
	// that.
	Was *Image

	Holder  string // whose it is for a while; empty for nobody's
	Mark    string // names the write; empty where none is needed
	Until   int64  // when that ends, in microseconds since 1970
	Expires int64  // when the table may remove it, in seconds since 1970; 0 for never
}

// An Image is what an item was before.
type Image struct {
	Version uint64
	Data    []byte // nil for an item that was not there
}

// Names of the attributes.
const (
	attrPK, attrSK        = "pk", "sk"
	attrVersion, attrData = "v", "data"
	attrWas, attrWasData  = "was", "was_data"
	attrHolder, attrUntil = "holder", "until"
	attrMark              = "mark"
	attrExpires           = "expires"
	attrLong              = "long"
)

// itemOverhead is how many bytes an item has beside its values, about.
const itemOverhead = 100

type attributes = map[string]types.AttributeValue

func text(s string) types.AttributeValue  { return &types.AttributeValueMemberS{Value: s} }
func bytes(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

func number[T ~int64 | ~uint64](n T) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}

func (k Key) attributes() attributes { return attributes{attrPK: text(k.PK), attrSK: text(k.SK)} }

func (i *Item) attributes() attributes {
	a := i.Key.attributes()
	a[attrVersion] = number(i.Version)
	if i.Data != nil {
		a[attrData] = bytes(i.Data)
	}
	if i.Long != nil {
		a[attrLong] = bytes(i.Long)
	}
	if i.Was != nil {
		a[attrWas] = number(i.Was.Version)
		if i.Was.Data != nil {
			a[attrWasData] = bytes(i.Was.Data)
		}
	}
	if i.Holder != "" {
		a[attrHolder] = text(i.Holder)
	}
	if i.Mark != "" {
		a[attrMark] = text(i.Mark)
	}
	if i.Until != 0 {
		a[attrUntil] = number(i.Until)
	}
	if i.Expires != 0 {
		a[attrExpires] = number(i.Expires)
	}
	return a
}

// size is about how many bytes the item takes in a request.
func (i *Item) size() int {
	n := itemOverhead + len(i.PK) + len(i.SK) + len(i.Data) + len(i.Long) + len(i.Holder)
	if i.Was != nil {
		n += len(i.Was.Data)
	}
	return n
}

// itemOf reads an item. Attributes that are not there, or of another type, are zero: an item that
// nothing here has written has no data.
func itemOf(a attributes) Item {
	i := Item{
		Key:     Key{textOf(a[attrPK]), textOf(a[attrSK])},
		Version: uint64(numberOf(a[attrVersion])), Data: bytesOf(a[attrData]),
		Long:   bytesOf(a[attrLong]),
		Holder: textOf(a[attrHolder]), Mark: textOf(a[attrMark]), Until: numberOf(a[attrUntil]),
		Expires: numberOf(a[attrExpires]),
	}
	if a[attrWas] != nil {
		i.Was = &Image{Version: uint64(numberOf(a[attrWas])), Data: bytesOf(a[attrWasData])}
	}
	return i
}

func textOf(v types.AttributeValue) string {
	if s, is := v.(*types.AttributeValueMemberS); is {
		return s.Value
	}
	return ""
}

func bytesOf(v types.AttributeValue) []byte {
	if b, is := v.(*types.AttributeValueMemberB); is {
		return b.Value
	}
	return nil
}

func numberOf(v types.AttributeValue) int64 {
	if n, is := v.(*types.AttributeValueMemberN); is {
		number, _ := strconv.ParseInt(n.Value, 10, 64)
		return number
	}
	return 0
}
