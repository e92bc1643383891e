package table

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// makeWithin bounds how long a new table takes until it can be used.
const makeWithin = 5 * time.Minute

// Make makes the table unless it exists: on demand, with point-in-time recovery and protected
// against deletion. The table removes items that have expired.
func (t *Table) Make(ctx context.Context) error {
	err := Patiently(ctx, func() error { return t.Check(ctx) })
	if errors.Is(err, ErrNoTable) {
		err = t.create(ctx)
	}
	if err != nil {
		return err
	}
	if err := t.expire(ctx); err != nil {
		return err
	}
	return t.recoverable(ctx)
}

func (t *Table) create(ctx context.Context) error {
	bound, cancel := context.WithTimeout(ctx, makeWithin)
	defer cancel()
	_, err := t.client.CreateTable(bound, &dynamodb.CreateTableInput{
		TableName: &t.name, BillingMode: types.BillingModePayPerRequest,
		DeletionProtectionEnabled: aws.Bool(true),
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(attrPK), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(attrSK), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(attrPK), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(attrSK), KeyType: types.KeyTypeRange},
		},
	})
	if inUse := new(types.ResourceInUseException); err != nil && !errors.As(err, &inUse) {
		return explain(err)
	}
	waiter := dynamodb.NewTableExistsWaiter(t.client, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, 5*time.Second
	})
	return explain(waiter.Wait(bound, &dynamodb.DescribeTableInput{TableName: &t.name}, makeWithin))
}

// ErrForm reports a table with other keys.
var ErrForm = errors.New("the table does not have the keys pk and sk, both strings")

// Check makes sure that the table exists and has the keys that are expected.
func (t *Table) Check(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := t.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.name})
	if err != nil {
		return explain(err)
	}
	keys := map[string]types.KeyType{}
	for _, k := range out.Table.KeySchema {
		keys[aws.ToString(k.AttributeName)] = k.KeyType
	}
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range out.Table.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	if len(keys) != 2 || keys[attrPK] != types.KeyTypeHash || keys[attrSK] != types.KeyTypeRange ||
		kinds[attrPK] != types.ScalarAttributeTypeS || kinds[attrSK] != types.ScalarAttributeTypeS {
		return fmt.Errorf("%w: table %s", ErrForm, t.name)
	}
	return nil
}

// expire lets the table remove items that have expired.
func (t *Table) expire(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	now, err := t.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{
		TableName: &t.name,
	})
	if err == nil && now.TimeToLiveDescription != nil {
		switch now.TimeToLiveDescription.TimeToLiveStatus {
		case types.TimeToLiveStatusEnabled, types.TimeToLiveStatusEnabling:
			return nil
		}
	}
	_, err = t.client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
		TableName: &t.name,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{
			AttributeName: aws.String(attrExpires), Enabled: aws.Bool(true),
		},
	})
	return explain(err)
}

// recoverable switches point-in-time recovery on. A service that has none is told of.
func (t *Table) recoverable(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := t.client.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
		TableName: &t.name,
		PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{
			PointInTimeRecoveryEnabled: aws.Bool(true),
		},
	})
	if err != nil {
		t.Log.Warn("point-in-time recovery of the table could not be switched on",
			slog.Any("error", explain(err)))
	}
	return nil
}
