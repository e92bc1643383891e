// Package table talks to one table of Amazon DynamoDB: it reads and writes items under
// conditions, tries again what may work the next time, and says what an error means for what was
// to be written: that it was not, that it cannot be, or that nobody knows. It knows nothing of
// accounts.
//
// All reads are strongly consistent.
package table

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"time"

	"example.com/atm/internal/endpoint"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"
)

// Scheme begins the URL of a table: dynamodb://TABLE?region=…&endpoint=…
const Scheme = "dynamodb"

// An Address says where a table is.
type Address struct {
	Table    string
	Region   string // empty for that of the environment
	Endpoint string // empty for that of the region
}

// ErrURL reports a URL that names no table.
var ErrURL = errors.New("this is no URL of a table: dynamodb://TABLE?region=REGION")

// tableName is what DynamoDB calls a table.
var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

// Parse reads the URL of a table. Credentials are never in it.
func Parse(text string) (Address, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != Scheme || u.Fragment != "" || u.Port() != "":
		return Address{}, ErrURL
	case u.User != nil:
		return Address{}, errors.New("credentials do not belong into a URL, where others can " +
			"read them: they come from the environment, or from the files of the AWS command line")
	case !tableName.MatchString(u.Host) || u.Path != "" && u.Path != "/":
		return Address{}, ErrURL
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Address{}, ErrURL
	}
	a := Address{Table: u.Host}
	for name, values := range query {
		var err error
		switch name {
		case "region":
			a.Region = values[0]
		case "endpoint":
			a.Endpoint, err = values[0], endpoint.Check(values[0])
		default:
			err = errors.New("is unknown; there are region and endpoint")
		}
		if err == nil && len(values) > 1 {
			err = errors.New("is there twice")
		}
		if err != nil {
			return Address{}, fmt.Errorf("%w: %s %w", ErrURL, name, err)
		}
	}
	return a, nil
}

const (
	// askWithin bounds how long one request may take.
	askWithin = 3 * time.Second

	// localRegion is what requests to an endpoint of its own are signed for, if nothing else is
	// said.
	localRegion = "us-east-1"
)

// A Table is a table of DynamoDB. Its methods may be called at once.
type Table struct {
	Log *slog.Logger

	client *dynamodb.Client
	name   string
}

// Open returns a table. It sends nothing to it.
func Open(ctx context.Context, at Address, log *slog.Logger) (*Table, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}),
		// What failed is tried again here, where it is known what that means.
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		return nil, err
	}
	client := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		if at.Endpoint != "" {
			o.BaseEndpoint = aws.String(at.Endpoint)
		}
		if at.Region != "" {
			o.Region = at.Region
		}
		if o.Region == "" && o.BaseEndpoint != nil {
			o.Region = localRegion
		}
	})
	if client.Options().Region == "" {
		return nil, fmt.Errorf("%w: the region is missing; add ?region=…", ErrURL)
	}
	if url := client.Options().BaseEndpoint; url != nil { // perhaps of the environment
		if err := endpoint.Check(*url); err != nil {
			return nil, fmt.Errorf("%w: endpoint %w", ErrURL, err)
		}
	}
	return &Table{Log: log, client: client, name: at.Table}, nil
}

// bounded bounds one request.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, askWithin)
}
