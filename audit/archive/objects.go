package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"example.com/atm/audit"
)

// Objects is where an archive is kept: objects with slash-separated names that never change.
//
// An error that is audit.ErrUnreachable says that the archive could not be asked, so nothing is
// known about the object. All methods may be called concurrently.
type Objects interface {
	// Get returns the content of an object. It returns an error that is fs.ErrNotExist if there is
	// none, and an error if it has more than limit bytes.
	Get(ctx context.Context, name string, limit int64) ([]byte, error)

	// Copy writes the content of an object to w and returns its size. It returns an error that is
	// fs.ErrNotExist if there is none.
	Copy(ctx context.Context, name string, w io.Writer) (int64, error)

	// Put makes an object durable before it returns nil. It never replaces one: if the name is
	// taken, it changes nothing and returns an error that is fs.ErrExist.
	Put(ctx context.Context, name string, content Content) error

	// List calls yield with the name of each object that begins with prefix, in order of bytes. An
	// error of yield ends the list and is returned.
	List(ctx context.Context, prefix string, yield func(name string) error) error

	// String is the location for people, without credentials.
	String() string
}

// Content is what an object is to hold.
type Content struct {
	io.ReaderAt
	Size int64

	// SHA256 is what the content hashes to, if that is known. Put returns an error that is ErrSum
	// for content that hashes to something else, such as a file that was changed meanwhile.
	SHA256 *[sha256.Size]byte

	data []byte // the whole content, if it is in memory
}

// Bytes returns data as a Content, without a hash of it.
func Bytes(data []byte) Content {
	return Content{ReaderAt: bytes.NewReader(data), Size: int64(len(data)), data: data}
}

// File returns the content of an open file, which it reads once to hash it. The file must not
// change before the Content has been used.
func File(f *os.File) (Content, error) {
	h := sha256.New()
	size, err := io.Copy(h, io.NewSectionReader(f, 0, maxObjectBytes+1))
	if err == nil && size > maxObjectBytes {
		err = audit.ErrTooLarge
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	return Content{ReaderAt: f, Size: size, SHA256: &sum}, err
}

// Reader returns a new reader of the whole content.
func (c Content) Reader() *io.SectionReader { return io.NewSectionReader(c, 0, c.Size) }

// copyTo writes the whole content to w. It returns ErrSum if it hashes to something else than
// SHA256.
func (c Content) copyTo(ctx context.Context, w io.Writer) error {
	if c.SHA256 == nil && c.data != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := w.Write(c.data)
		return err
	}
	h := sha256.New()
	if _, err := copyTo(ctx, io.MultiWriter(w, h), c.Reader()); err != nil {
		return err
	}
	if c.SHA256 != nil && [sha256.Size]byte(h.Sum(nil)) != *c.SHA256 {
		return ErrSum
	}
	return nil
}

// A comparison compares what is written to it with a content.
type comparison struct {
	with    Content
	at      int64 // bytes that were written
	differs bool
}

// Write implements io.Writer.
func (c *comparison) Write(b []byte) (int, error) {
	want := make([]byte, len(b))
	n, err := c.with.ReadAt(want, c.at)
	if err != nil && err != io.EOF { // the content is shorter
		return 0, fmt.Errorf("what is to be archived: %w", err)
	}
	c.differs = c.differs || !bytes.Equal(b, want[:n])
	c.at += int64(len(b))
	return len(b), nil
}

// equal reports whether the whole content was written, and nothing else.
func (c *comparison) equal() bool { return !c.differs && c.at == c.with.Size }

// maxObjectBytes is the largest object: 10,000 parts of 16 MiB, as S3 takes them.
const maxObjectBytes = 10_000 * 16 << 20
