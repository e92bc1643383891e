package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	Size   int64
	SHA256 [sha256.Size]byte
}

// Bytes returns data as a Content.
func Bytes(data []byte) Content {
	return Content{bytes.NewReader(data), int64(len(data)), sha256.Sum256(data)}
}

// File returns the content of an open file, which it reads once to hash it. The file must not
// change before the Content has been used.
func File(f *os.File) (Content, error) {
	h := sha256.New()
	size, err := io.Copy(h, io.NewSectionReader(f, 0, maxObjectBytes+1))
	if err == nil && size > maxObjectBytes {
		err = audit.ErrTooLarge
	}
	return Content{f, size, [sha256.Size]byte(h.Sum(nil))}, err
}

// Reader returns a new reader of the whole content.
func (c Content) Reader() *io.SectionReader { return io.NewSectionReader(c, 0, c.Size) }

// maxObjectBytes is the largest object: 10,000 parts of 16 MiB, as S3 takes them.
const maxObjectBytes = 10_000 * 16 << 20
