// Package archivetest is the suite that everything passes that an archive is kept in.
package archivetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/atm/audit/archive"
)

// Run runs the suite. open returns an empty archive, and a function that opens it again as another
// process does.
func Run(t *testing.T, open func(t *testing.T) (first archive.Objects,
	again func() archive.Objects),
) {
	for name, test := range map[string]func(*testing.T, archive.Objects, func() archive.Objects){
		"what was put is read back":          readsBack,
		"a name is given once":               givenOnce,
		"of many writers one wins":           oneWins,
		"what is missing does not exist":     missing,
		"names are listed in order":          lists,
		"content that differs is refused":    refuses,
		"what is cancelled leaves no object": cancels,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, again := open(t)
			test(t, first, again)
		})
	}
}

// contentOf returns content of this size.
func contentOf(size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size)}).Read(data)
	return data
}

func put(t *testing.T, o archive.Objects, name string, data []byte) {
	t.Helper()
	if err := o.Put(t.Context(), name, archive.Bytes(data)); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, o archive.Objects, name string, want []byte) {
	t.Helper()
	got, err := o.Get(t.Context(), name, int64(len(want)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s holds %d bytes, want %d; %v", name, len(got), len(want), err)
	}
	var copied bytes.Buffer
	n, err := o.Copy(t.Context(), name, &copied)
	if err != nil || n != int64(len(want)) || !bytes.Equal(copied.Bytes(), want) {
		t.Errorf("a copy of %s holds %d bytes, want %d; %v", name, n, len(want), err)
	}
}

func readsBack(t *testing.T, o archive.Objects, again func() archive.Objects) {
	const manyParts = 40<<20 + 11 // more than one request of S3 takes here
	for _, size := range []int{0, 1, 8 << 20, 8<<20 + 1, manyParts} {
		name, data := fmt.Sprintf("of/%d", size), contentOf(size)
		put(t, o, name, data)
		holds(t, again(), name, data)
		if _, err := o.Get(t.Context(), name, int64(size)-1); size > 0 && err == nil {
			t.Errorf("an object of %d bytes was read where fewer are allowed", size)
		}
	}
}

func givenOnce(t *testing.T, o archive.Objects, again func() archive.Objects) {
	for _, size := range []int{10, 17 << 20} {
		name, data := fmt.Sprintf("of/%d", size), contentOf(size)
		put(t, o, name, data)
		for _, other := range [][]byte{data, contentOf(11), nil, contentOf(18 << 20)} {
			err := again().Put(t.Context(), name, archive.Bytes(other))
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("%d bytes under a name that is taken: %v", len(other), err)
			}
		}
		holds(t, o, name, data)
	}
}

func oneWins(t *testing.T, o archive.Objects, again func() archive.Objects) {
	const writers = 8
	for _, size := range []int{100, 17 << 20} {
		var wg sync.WaitGroup
		var won atomic.Int64
		name := fmt.Sprintf("of/%d", size)
		for i := range writers {
			wg.Go(func() {
				err := again().Put(t.Context(), name, archive.Bytes(contentOf(size+i)))
				if err == nil && won.Add(int64(size+i)) == 0 ||
					err != nil && !errors.Is(err, fs.ErrExist) {
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		holds(t, o, name, contentOf(int(won.Load()))) // the sizes of two add up to none
	}
}

func missing(t *testing.T, o archive.Objects, _ func() archive.Objects) {
	put(t, o, "a/b", []byte("x"))
	for _, name := range []string{"a/c", "a/b/c", "b", "a"} {
		if _, err := o.Get(t.Context(), name, 10); !errors.Is(err, fs.ErrNotExist) &&
			name != "a" { // which is a folder
			t.Errorf("%s: %v", name, err)
		}
		if _, err := o.Copy(t.Context(), name, &bytes.Buffer{}); err == nil {
			t.Errorf("%s was copied", name)
		}
	}
	err := o.List(t.Context(), "nothing/", func(name string) error {
		return errors.New(name + " was listed")
	})
	if err != nil {
		t.Error(err)
	}
}

func lists(t *testing.T, o archive.Objects, again func() archive.Objects) {
	var want []string
	for i := range 30 {
		want = append(want, fmt.Sprintf("chapter/%04d/checkpoint", i),
			fmt.Sprintf("chapter/%04d/snapshot", i))
	}
	want = append(want, "a", "chapter-1/x", "chapter.p/3", "chapters/1")
	for _, name := range want {
		put(t, o, name, []byte(name))
	}
	slices.Sort(want)
	for _, prefix := range []string{"", "chapter", "chapter/", "chapter/000", "chapter/0001/", "b"} {
		var got, matching []string
		for _, name := range want {
			if strings.HasPrefix(name, prefix) {
				matching = append(matching, name)
			}
		}
		err := again().List(t.Context(), prefix, func(name string) error {
			got = append(got, name)
			return nil
		})
		if err != nil || !slices.Equal(got, matching) {
			t.Errorf("%q: %v, %v, want %v", prefix, got, err, matching)
		}
	}
	errEnough := errors.New("enough")
	seen := 0
	err := o.List(t.Context(), "", func(string) error { seen++; return errEnough })
	if !errors.Is(err, errEnough) || seen != 1 {
		t.Errorf("after an error %d names were listed, %v", seen, err)
	}
}

func refuses(t *testing.T, o archive.Objects, again func() archive.Objects) {
	for _, size := range []int{10, 17 << 20} {
		name, content := fmt.Sprintf("of/%d", size), archive.Bytes(contentOf(size))
		sum := sha256.Sum256([]byte("other"))
		content.SHA256 = &sum
		if err := o.Put(t.Context(), name, content); !errors.Is(err, archive.ErrSum) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := again().Get(t.Context(), name, 20<<20); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d bytes: it was written all the same, %v", size, err)
		}
	}
}

func cancels(t *testing.T, o archive.Objects, again func() archive.Objects) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, size := range []int{10, 17 << 20} {
		name := fmt.Sprintf("of/%d", size)
		if err := o.Put(ctx, name, archive.Bytes(contentOf(size))); !errors.Is(err,
			context.Canceled) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := again().Get(t.Context(), name, 20<<20); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d bytes: it was written all the same, %v", size, err)
		}
	}
}
