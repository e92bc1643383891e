package search

// Names that the tests of the package use.
const MaxMarks = maxMarks

// EachTerm is eachTerm.
var EachTerm = eachTerm

// Len is the number of bundles in the index.
func (x *Index) Len() int { return len(x.marks) }
