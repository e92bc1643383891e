package table

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Get returns an item; nil when there is none.
func (t *Table) Get(ctx context.Context, key Key) (*Item, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := t.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &t.name, Key: key.attributes(), ConsistentRead: aws.Bool(true),
	})
	if err != nil || out.Item == nil {
		return nil, explain(err)
	}
	item := itemOf(out.Item)
	return &item, nil
}

// askedAtOnce is how many items one request reads.
const askedAtOnce = 100

// GetAll returns those of the items that there are. Each is as of another moment.
func (t *Table) GetAll(ctx context.Context, keys []Key) (map[Key]*Item, error) {
	found := make(map[Key]*Item, len(keys))
	asked := make(map[Key]bool, len(keys))
	var left []attributes
	for _, key := range keys {
		if !asked[key] {
			asked[key] = true
			left = append(left, key.attributes())
		}
	}
	for len(left) > 0 {
		n := min(len(left), askedAtOnce)
		unread, err := t.getSome(ctx, left[:n], found)
		if err != nil {
			return nil, err
		}
		left = append(unread, left[n:]...)
	}
	return found, nil
}

// getSome reads at least one of the items.
func (t *Table) getSome(ctx context.Context, keys []attributes, found map[Key]*Item) (
	unread []attributes, err error,
) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := t.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{
			t.name: {Keys: keys, ConsistentRead: aws.Bool(true)},
		},
	})
	if err != nil {
		return nil, explain(err)
	}
	for _, responses := range out.Responses {
		for _, a := range responses {
			item := itemOf(a)
			found[item.Key] = &item
		}
	}
	for _, k := range out.UnprocessedKeys {
		unread = append(unread, k.Keys...)
	}
	if len(unread) == len(keys) {
		return nil, &Error{errThrottled, later}
	}
	return slices.Clip(unread), nil
}

// A Range is which items with one PK are asked for. The zero Range is all of them, in order of SK.
type Range struct {
	From, To string // bounds of SK, both among them; empty for none
	Down     bool   // from the last one downwards
	Limit    int    // at most; 0 for no limit
}

// Each calls yield with the items of a PK. What yield returns ends it.
func (t *Table) Each(ctx context.Context, pk string, r Range, yield func(*Item) error) error {
	in := &dynamodb.QueryInput{
		TableName: &t.name, ConsistentRead: aws.Bool(true),
		KeyConditionExpression:    aws.String("pk = :pk"),
		ExpressionAttributeValues: attributes{":pk": text(pk)},
		ScanIndexForward:          aws.Bool(!r.Down),
	}
	switch v := in.ExpressionAttributeValues; {
	case r.From != "" && r.To != "":
		*in.KeyConditionExpression += " AND sk BETWEEN :from AND :to"
		v[":from"], v[":to"] = text(r.From), text(r.To)
	case r.From != "":
		*in.KeyConditionExpression += " AND sk >= :from"
		v[":from"] = text(r.From)
	case r.To != "":
		*in.KeyConditionExpression += " AND sk <= :to"
		v[":to"] = text(r.To)
	}
	for left := r.Limit; ; {
		if r.Limit > 0 {
			in.Limit = aws.Int32(int32(left))
		}
		out, err := t.query(ctx, in)
		if err != nil {
			return err
		}
		for _, a := range out.Items {
			item := itemOf(a)
			if err := yield(&item); err != nil {
				return err
			}
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
		if left -= len(out.Items); in.ExclusiveStartKey == nil || r.Limit > 0 && left <= 0 {
			return nil
		}
	}
}

// query asks for a page, and tries again: what was yielded before stays so.
func (t *Table) query(ctx context.Context, in *dynamodb.QueryInput) (
	out *dynamodb.QueryOutput, err error,
) {
	err = Patiently(ctx, func() error {
		ctx, cancel := bounded(ctx)
		defer cancel()
		out, err = t.client.Query(ctx, in)
		return explain(err)
	})
	return out, err
}

// List returns the items of a PK.
func (t *Table) List(ctx context.Context, pk string, r Range) (found []*Item, err error) {
	err = t.Each(ctx, pk, r, func(i *Item) error {
		found = append(found, i)
		return nil
	})
	return found, err
}
