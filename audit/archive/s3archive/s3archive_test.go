package s3archive_test

import (
	"strings"
	"testing"

	"example.com/atm/audit/archive"
	"example.com/atm/audit/archive/archivetest"
	"example.com/atm/audit/archive/s3archive"
	"example.com/atm/audit/archive/s3archive/s3test"
)

// open opens an archive.
func open(t testing.TB, location string) *s3archive.Bucket {
	t.Helper()
	b, err := s3archive.Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBucketPassesTheSuite(t *testing.T) {
	t.Parallel()
	g := s3test.Start(t)
	archivetest.Run(t, func(t *testing.T) (archive.Objects, func() archive.Objects) {
		prefix := strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())
		return open(t, g.Location(prefix)), func() archive.Objects {
			return open(t, g.Location(prefix))
		}
	})
}
