package s3archive

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"time"

	"example.com/atm/audit/archive"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	// partBytes is the size of a part of a large object.
	partBytes = 16 << 20

	// maxConflicts bounds how often a write is tried again because another one of the same name was
	// going on.
	maxConflicts = 5
	conflictWait = 200 * time.Millisecond

	abortWithin = 30 * time.Second
)

// ifAbsent is the condition of each write.
var ifAbsent = aws.String("*")

// Put implements archive.Objects.
func (b *Bucket) Put(ctx context.Context, name string, content archive.Content) error {
	put := b.putWhole
	if content.Size > partBytes {
		put = b.putParts
	}
	for try := 1; ; try++ {
		err := put(ctx, name, content)
		if !isCode(err, "ConditionalRequestConflict") || try == maxConflicts {
			if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, archive.ErrSum) {
				return err
			}
			return b.written(ctx, name, err)
		}
		select {
		case <-time.After(conflictWait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// locked returns how long an object that is written now is locked, and nothing if the bucket
// decides that.
func (b *Bucket) locked() (types.ObjectLockMode, *time.Time) {
	if b.location.lock == "" {
		return "", nil
	}
	return b.location.lock, aws.Time(time.Now().Add(b.location.keep))
}

// putWhole writes an object by one request.
func (b *Bucket) putWhole(ctx context.Context, name string, content archive.Content) error {
	ctx, cancel := context.WithTimeout(ctx, b.tryFor)
	defer cancel()
	mode, until := b.locked()
	sum, err := sumOf(content)
	if err != nil {
		return err
	}
	_, err = b.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.location.bucket, Key: b.key(name), IfNoneMatch: ifAbsent,
		Body: content.Reader(), ContentLength: &content.Size,
		ChecksumSHA256: base64Of(sum[:]),
		ObjectLockMode: mode, ObjectLockRetainUntilDate: until,
	})
	if isCode(err, "BadDigest") {
		return archive.ErrSum
	}
	return err
}

// putParts writes a large object in parts, which become an object when all are there.
func (b *Bucket) putParts(ctx context.Context, name string, content archive.Content) (err error) {
	if taken, err := b.has(ctx, name); err != nil || taken {
		if taken {
			return fs.ErrExist // rather than after hundreds of megabytes
		}
		return err
	}
	upload, err := b.beginParts(ctx, name)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		// Storage keeps, and charges for, the parts of an upload that nobody ends.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
		defer cancel()
		b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
			Bucket: &b.location.bucket, Key: b.key(name), UploadId: upload,
		})
	}()
	var parts []types.CompletedPart
	h := sha256.New()
	for from := int64(0); from < content.Size; from += partBytes {
		part, err := b.putPart(ctx, name, upload, int32(len(parts)+1),
			io.NewSectionReader(content, from, min(partBytes, content.Size-from)), h)
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	if content.SHA256 != nil && [sha256.Size]byte(h.Sum(nil)) != *content.SHA256 {
		return archive.ErrSum
	}
	ctx, cancel := context.WithTimeout(ctx, b.tryFor)
	defer cancel()
	_, err = b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.location.bucket, Key: b.key(name), UploadId: upload, IfNoneMatch: ifAbsent,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

func (b *Bucket) beginParts(ctx context.Context, name string) (upload *string, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.tryFor)
	defer cancel()
	mode, until := b.locked()
	begun, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.location.bucket, Key: b.key(name),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		ObjectLockMode:    mode, ObjectLockRetainUntilDate: until,
	})
	if err != nil {
		return nil, err
	}
	return begun.UploadId, nil
}

// putPart writes one part, and adds it to the hash of the whole.
func (b *Bucket) putPart(ctx context.Context, name string, upload *string, number int32,
	part *io.SectionReader, whole io.Writer,
) (types.CompletedPart, error) {
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, whole), part); err != nil {
		return types.CompletedPart{}, err
	}
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return types.CompletedPart{}, err
	}
	sum := base64Of(h.Sum(nil))
	ctx, cancel := context.WithTimeout(ctx, b.tryFor)
	defer cancel()
	out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &b.location.bucket, Key: b.key(name), UploadId: upload, PartNumber: &number,
		Body: part, ContentLength: aws.Int64(part.Size()), ChecksumSHA256: sum,
	})
	if err != nil {
		return types.CompletedPart{}, err
	}
	return types.CompletedPart{ETag: out.ETag, PartNumber: &number, ChecksumSHA256: sum}, nil
}

// has reports whether there is an object with this name.
func (b *Bucket) has(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, b.tryFor)
	defer cancel()
	_, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &b.location.bucket, Key: b.key(name),
	})
	if isCode(err, "NotFound") || isCode(err, "NoSuchKey") {
		return false, nil
	}
	return err == nil, err
}

// sumOf is the SHA-256 that the storage compares with what it gets.
func sumOf(content archive.Content) (sum [sha256.Size]byte, err error) {
	if content.SHA256 != nil {
		return *content.SHA256, nil
	}
	h := sha256.New()
	_, err = io.Copy(h, content.Reader())
	return [sha256.Size]byte(h.Sum(nil)), err
}

func base64Of(sum []byte) *string { return aws.String(base64.StdEncoding.EncodeToString(sum)) }
