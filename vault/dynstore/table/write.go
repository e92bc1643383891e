package table

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A Condition is what must hold of an item for it to be written.
type Condition struct {
	expression string
	values     attributes
}

// Always writes whatever there is.
var Always = Condition{}

// Absent writes when there is no item.
var Absent = Condition{expression: "attribute_not_exists(pk)"}

// Same writes when the item has this version; version 0 is that of no item.
func Same(version uint64) Condition {
	if version == 0 {
		return Absent
	}
	return Condition{"v = :seen", attributes{":seen": number(version)}}
}

// SameOrAbsent writes when the item has this version, and when there is none.
func SameOrAbsent(version uint64) Condition {
	return Condition{
		"attribute_not_exists(pk) OR v = :seen", attributes{":seen": number(version)},
	}
}

// Older writes when there is no item, or one of a version before this one.
func Older(version uint64) Condition {
	return Condition{
		"attribute_not_exists(pk) OR v < :before", attributes{":before": number(version)},
	}
}

// AbsentOr writes when there is no item, or one that is a holder's.
func AbsentOr(holder string) Condition {
	return Condition{
		"attribute_not_exists(pk) OR holder = :mine", attributes{":mine": text(holder)},
	}
}

// There writes when there is an item.
var There = Condition{expression: "attribute_exists(pk)"}

func (c Condition) text() *string {
	if c.expression == "" {
		return nil
	}
	return aws.String(c.expression)
}

// A Write puts an item in the place of another one, or removes it.
type Write struct {
	Item   Item
	Remove bool
	If     Condition
}

// Size is about how many bytes a write takes in a request.
func (w *Write) Size() int { return w.Item.size() }

// Limits of one transaction.
const (
	MaxWrites = 100
	MaxBytes  = 7 << 19 // of 4 MB, because attributes have names
)

// able makes sure that requests can be signed: what failed before it was sent was not done.
func (t *Table) able(ctx context.Context) error {
	if _, err := t.client.Options().Credentials.Retrieve(ctx); err != nil {
		return &Error{err, later}
	}
	return nil
}

// Transact makes all writes, or none. The first one, which is no removal, is the one that others
// meet: what was in its way is in the error. Within some minutes the same token stands for the same
// transaction: one that was made already is not made again.
func (t *Table) Transact(ctx context.Context, token string, writes []Write) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := t.able(ctx); err != nil {
		return err
	}
	items := make([]types.TransactWriteItem, len(writes))
	for i := range writes {
		w := &writes[i]
		if w.Remove {
			items[i].Delete = &types.Delete{
				TableName: &t.name, Key: w.Item.Key.attributes(),
				ConditionExpression: w.If.text(), ExpressionAttributeValues: w.If.values,
			}
		} else {
			items[i].Put = &types.Put{
				TableName: &t.name, Item: w.Item.attributes(),
				ConditionExpression: w.If.text(), ExpressionAttributeValues: w.If.values,
			}
		}
	}
	if first := items[0].Put; first != nil {
		first.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	_, err := t.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
		TransactItems: items, ClientRequestToken: aws.String(token),
	})
	return explain(err)
}

// Do makes one write.
func (t *Table) Do(ctx context.Context, w Write) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := t.able(ctx); err != nil {
		return err
	}
	var err error
	if w.Remove {
		_, err = t.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &t.name, Key: w.Item.Key.attributes(),
			ConditionExpression: w.If.text(), ExpressionAttributeValues: w.If.values,
		})
	} else {
		_, err = t.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &t.name, Item: w.Item.attributes(),
			ConditionExpression: w.If.text(), ExpressionAttributeValues: w.If.values,
		})
	}
	return explain(err)
}

// Patiently makes one write that may be made twice, and tries again what failed.
func (t *Table) Patiently(ctx context.Context, w Write) error {
	return Patiently(ctx, func() error { return t.Do(ctx, w) })
}

// A batch is written together, and not as one.
const (
	batchWrites = 25
	batchBytes  = 8 << 20
)

// DoAll makes writes without conditions, not as one: each may be made alone, and in any order. It
// tries again what was not made.
func (t *Table) DoAll(ctx context.Context, writes []Write) error {
	var batch []types.WriteRequest
	bytes := 0
	for i := range writes {
		w := &writes[i]
		if len(batch) == batchWrites || len(batch) > 0 && bytes+w.Size() > batchBytes {
			if err := t.doBatch(ctx, batch); err != nil {
				return err
			}
			batch, bytes = nil, 0
		}
		bytes += w.Size()
		if w.Remove {
			batch = append(batch, types.WriteRequest{DeleteRequest: &types.DeleteRequest{
				Key: w.Item.Key.attributes(),
			}})
		} else {
			batch = append(batch, types.WriteRequest{PutRequest: &types.PutRequest{
				Item: w.Item.attributes(),
			}})
		}
	}
	return t.doBatch(ctx, batch)
}

func (t *Table) doBatch(ctx context.Context, batch []types.WriteRequest) error {
	for len(batch) > 0 {
		err := Patiently(ctx, func() error {
			ctx, cancel := bounded(ctx)
			defer cancel()
			out, err := t.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
				RequestItems: map[string][]types.WriteRequest{t.name: batch},
			})
			if err != nil {
				return explain(err)
			}
			left := out.UnprocessedItems[t.name]
			if len(left) == len(batch) {
				return &Error{errThrottled, later}
			}
			batch = left
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
