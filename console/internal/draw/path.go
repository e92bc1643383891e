// Package draw makes the drawings of the console.
package draw

import (
	"encoding/base64"
	"strconv"
	"strings"

	"example.com/atm/audit/merkle"
)

// Measures of the drawing of a path, in its own units.
const (
	stepHeight   = 40
	pathX        = 160 // of the nodes on the path
	besideX      = 110 // from there to the hashes on the left and on the right
	nodeSpace    = 8   // below the name of the entry
	shortHash    = 8   // characters of a hash that are drawn
	maxPathSteps = 64
)

// A Path leads from an entry up to the root of the tree, as a proof says.
type Path struct {
	Index, Size    int64
	Beside         []Beside // from the entry up
	Bottom, Height int      // of the drawing
}

// A Beside is a hash beside the path: with the node on the path it makes the node above.
type Beside struct {
	Hash  string
	X, Y  int
	Above int // y of the node above
}

// PathOf reads the path of a proof, or returns nil for a proof that it cannot draw. It shows
// what the server says; only the browser verifies it.
func PathOf(proof string, index int64) *Path {
	head, note, _ := strings.Cut(proof, "\n\n")
	p := &Path{Index: index}
	for line := range strings.SplitSeq(head, "\n") {
		if len(line) == base64.StdEncoding.EncodedLen(len(merkle.Hash{})) {
			p.Beside = append(p.Beside, Beside{Hash: line[:shortHash] + "…"})
		}
	}
	lines := strings.SplitN(note, "\n", 3)
	if len(lines) < 2 || len(p.Beside) > maxPathSteps {
		return nil
	}
	var err error
	if p.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || index >= p.Size {
		return nil
	}
	p.Bottom = len(p.Beside)*stepHeight + stepHeight/2
	p.Height = p.Bottom + stepHeight - nodeSpace
	// On which side each hash is follows from index and size (RFC 9162, section 2.1.3.2).
	node, last := index, p.Size-1
	for i := range p.Beside {
		b := &p.Beside[i]
		b.Y = p.Bottom - i*stepHeight
		b.X, b.Above = pathX+besideX, b.Y-stepHeight
		if node&1 == 1 || node == last {
			b.X = pathX - besideX
			for node&1 == 0 && node != 0 {
				node, last = node>>1, last>>1
			}
		}
		node, last = node>>1, last>>1
	}
	return p
}
