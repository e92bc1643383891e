package draw

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// lefts says on which side the hashes of a proof are, from the entry up, as RFC 6962 defines a
// path: by the largest power of two below the size.
func lefts(index, size int64) []bool {
	if size == 1 {
		return nil
	}
	half := int64(1)
	for half*2 < size {
		half *= 2
	}
	if index < half {
		return append(lefts(index, half), false)
	}
	return append(lefts(index-half, size-half), true)
}

// TestPathIsDrawnOnTheSidesWhereTheHashesStand draws the path of each entry of small trees.
func TestPathIsDrawnOnTheSidesWhereTheHashesStand(t *testing.T) {
	hash := strings.Repeat("A", 43) + "="
	for size := int64(1); size <= 70; size++ {
		for index := range size {
			want := lefts(index, size)
			proof := fmt.Sprintf("c2sp.org/tlog-proof@v1\nindex %d\n%s\nlog.example\n%d\n%s\n\n— x",
				index, strings.Repeat(hash+"\n", len(want)), size, hash)
			p := PathOf(proof, index)
			if p == nil || p.Size != size {
				t.Fatalf("entry %d of %d: %+v", index, size, p)
			}
			var got []bool
			for _, b := range p.Beside {
				got = append(got, b.X < pathX)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("entry %d of %d has hashes to the left: %v, want %v", index, size, got,
					want)
			}
		}
	}
}

// TestPathOfWhatIsNoProofIsNotDrawn gives what a proof is not.
func TestPathOfWhatIsNoProofIsNotDrawn(t *testing.T) {
	for _, proof := range []string{
		"", "\n\n", "index 1\n\nlog.example\nmany\n", "index 1\n\nlog.example\n1\n",
		strings.Repeat(strings.Repeat("A", 44)+"\n", 65) + "\nlog.example\n9\n",
	} {
		if p := PathOf(proof, 1); p != nil {
			t.Errorf("%.40q is drawn: %+v", proof, p)
		}
	}
}
