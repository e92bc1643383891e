// Package s3archive keeps an archive in object storage that speaks the protocol of Amazon S3.
//
// It relies on conditional writes (If-None-Match), so no object is ever replaced, and on the
// checksums that the storage compares before it accepts an object. Credentials come from the
// environment and the files of the AWS command line, never from the location.
package s3archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/internal/endpoint"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// A Bucket is an archive below a prefix of a bucket. It implements archive.Objects.
type Bucket struct {
	location *location
	text     string
	client   *s3.Client
	tryFor   time.Duration
}

const (
	// tries bounds how often a request is sent, and tryFor how long all of them take together.
	tries  = 4
	tryFor = 2 * time.Minute

	// pieceBytes is how much of an object is asked for at a time.
	pieceBytes = 8 << 20

	defaultRegion = "us-east-1" // storage with an endpoint of its own rarely has regions
)

// Open returns the archive at s3://BUCKET/PREFIX. It sends nothing to the storage.
func Open(ctx context.Context, location string) (*Bucket, error) {
	l, err := parse(location)
	if err != nil {
		return nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(tries),
		config.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, err
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = l.pathStyle
		// What is read is compared with the signed root, which tells a changed object from storage
		// that cannot be reached.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if l.endpoint != "" {
			o.BaseEndpoint = aws.String(l.endpoint)
		}
		if l.region != "" {
			o.Region = l.region
		}
		if o.Region == "" && o.BaseEndpoint != nil {
			o.Region = defaultRegion
		}
	})
	if client.Options().Region == "" {
		return nil, fmt.Errorf("%s: the region is missing; add ?region=…", location)
	}
	if url := client.Options().BaseEndpoint; url != nil { // perhaps of the environment
		if err := endpoint.Check(*url); err != nil {
			return nil, fmt.Errorf("%s: the endpoint %w", location, err)
		}
	}
	return &Bucket{
		location: l, text: "s3://" + l.bucket + "/" + l.prefix, client: client,
		tryFor: tryFor,
	}, nil
}

// String implements archive.Objects.
func (b *Bucket) String() string { return b.text }

func (b *Bucket) key(name string) *string { return aws.String(b.location.prefix + name) }

// Get implements archive.Objects.
func (b *Bucket) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	var content bytes.Buffer
	_, err := b.copy(ctx, name, &content, limit)
	return content.Bytes(), err
}

// Copy implements archive.Objects.
func (b *Bucket) Copy(ctx context.Context, name string, w io.Writer) (int64, error) {
	return b.copy(ctx, name, w, -1)
}

// copy asks for an object piece by piece, so that each request is short. A negative limit is none.
func (b *Bucket) copy(ctx context.Context, name string, w io.Writer, limit int64) (n int64,
	err error,
) {
	var version *string // of the object that the first piece is of
	for total := int64(1); n < total; {
		var data []byte
		if data, total, version, err = b.piece(ctx, name, n, version); err != nil {
			return n, err
		}
		if limit >= 0 && total > limit {
			return n, audit.ErrTooLarge
		}
		m, err := w.Write(data)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// piece returns a piece of an object, the size of the object and its version.
func (b *Bucket) piece(ctx context.Context, name string, from int64, of *string) (data []byte,
	total int64, version *string, err error,
) {
	try, cancel := context.WithTimeout(ctx, b.tryFor)
	defer cancel()
	out, err := b.client.GetObject(try, &s3.GetObjectInput{
		Bucket: &b.location.bucket, Key: b.key(name), IfMatch: of,
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", from, from+pieceBytes-1)),
	})
	if isCode(err, "InvalidRange") && from == 0 {
		return nil, 0, nil, nil // an empty object
	}
	if err != nil {
		return nil, 0, nil, b.asked(ctx, err)
	}
	defer out.Body.Close()
	if data, err = io.ReadAll(io.LimitReader(out.Body, pieceBytes)); err != nil {
		return nil, 0, nil, b.asked(ctx, err)
	}
	var first, last int64
	_, err = fmt.Sscanf(aws.ToString(out.ContentRange), "bytes %d-%d/%d", &first, &last, &total)
	if err != nil || first != from || last-first+1 != int64(len(data)) || len(data) == 0 {
		return nil, 0, nil, b.unreachable("it answers with other bytes than it was asked for")
	}
	return data, total, out.ETag, nil
}

// List implements archive.Objects.
func (b *Bucket) List(ctx context.Context, prefix string, yield func(name string) error) error {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{
		Bucket: &b.location.bucket, Prefix: b.key(prefix),
	})
	for pages.HasMorePages() {
		page, err := b.nextPage(ctx, pages)
		if err != nil {
			return b.asked(ctx, err)
		}
		for _, object := range page.Contents {
			name, below := strings.CutPrefix(aws.ToString(object.Key), *b.key(prefix))
			if !below {
				return b.unreachable("it lists other names than it was asked for")
			}
			if err := yield(prefix + name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Bucket) nextPage(ctx context.Context, pages *s3.ListObjectsV2Paginator) (
	*s3.ListObjectsV2Output, error,
) {
	ctx, cancel := context.WithTimeout(ctx, b.tryFor)
	defer cancel()
	return pages.NextPage(ctx)
}

// asked is the error of a request that asks for something.
func (b *Bucket) asked(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isCode(err, "NoSuchKey"), isCode(err, "NotFound"):
		return fs.ErrNotExist
	}
	return b.unreachable(reason(err))
}

// written is the error of a request that writes an object.
func (b *Bucket) written(ctx context.Context, name string, err error) error {
	var answered *awshttp.ResponseError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isCode(err, "PreconditionFailed"):
		return fs.ErrExist
	case errors.As(err, &answered) && (answered.HTTPStatusCode()/100 == 4 ||
		answered.HTTPStatusCode() == http.StatusInsufficientStorage):
		return fmt.Errorf("writing %s to the archive %s: %s", name, b, reason(err))
	}
	return b.unreachable(reason(err))
}

// unreachable is an error that is audit.ErrUnreachable. The reason is text alone: a bucket that is
// gone is not an object that is missing.
func (b *Bucket) unreachable(reason string) error {
	return fmt.Errorf("the archive %s %w: %s", b, audit.ErrUnreachable, reason)
}

func isCode(err error, code string) bool {
	var answer smithy.APIError
	return errors.As(err, &answer) && answer.ErrorCode() == code
}

// reason is what a person needs to know of an error of the kit.
func reason(err error) string {
	var answer smithy.APIError
	var transport *url.Error
	switch {
	case errors.As(err, &answer) && answer.ErrorMessage() != "":
		return answer.ErrorCode() + ": " + answer.ErrorMessage()
	case errors.As(err, &answer):
		return answer.ErrorCode()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &transport):
		return transport.Err.Error()
	}
	return err.Error()
}
