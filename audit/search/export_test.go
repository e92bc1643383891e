package search

// What the tests of the package see of its inside.
const MaxMarks = maxMarks

// EachTerm is eachTerm.
var EachTerm = eachTerm

// Len is how many bundles the index keeps.
func (x *Index) Len() int { return len(x.marks) }
