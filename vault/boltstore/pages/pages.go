// Package pages checks the pages of a bbolt file before bbolt sees them.
//
// bbolt trusts its pages. A reference that leads back up makes it recurse until the
// stack of the process is full, which cannot be recovered from; a count or a length
// that is too large makes it read outside of its memory map. So the pages are checked
// before bbolt sees them: with read calls, never through the memory map, because a read
// of what is not there is an error then, and not a fault.
//
// Everything that bbolt writes is packed without gaps. The check insists on that, so it
// finds nearly every bit that changed outside of the values; those are sealed.
package pages

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math/bits"
	"os"

	"example.com/atm/vault"
)

// The layout of a bbolt file, as bbolt 1.x writes it on this machine.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader  = 16 // id, flags, count, overflow
	elementSize = 16 // of a branch and of a leaf page
	bucketSize  = 16 // root page and sequence, the value of a bucket

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	flagBucket = 0x01 // of an element of a leaf page

	noFreelist = ^uint64(0)
)

const (
	// deepest bounds the levels of a tree. One of so many levels would hold more than
	// any disk.
	deepest = 24

	// LongestRun is how many bytes one page with its overflow has at most. The longest
	// value is a packed chunk of the journal.
	LongestRun = 128 << 20

	// longestFreelist is the same for the list of free pages: 128 million of them.
	longestFreelist = 1 << 30
)

// A damagedPage says which page of a vault is not as bbolt writes it.
type damagedPage struct {
	page   uint64
	bucket string // empty for pages that belong to no bucket
	reason string
}

func (d *damagedPage) Error() string {
	if d.bucket == "" {
		return fmt.Sprintf("%v: page %d: %s", vault.ErrDamaged, d.page, d.reason)
	}
	return fmt.Sprintf("%v: page %d, of the bucket %s: %s", vault.ErrDamaged, d.page, d.bucket,
		d.reason)
}

// Is lets the error be found as vault.ErrDamaged.
func (d *damagedPage) Is(target error) bool { return target == vault.ErrDamaged }

// A bitmap is a set of pages.
type bitmap []uint64

func newBitmap(pages uint64) bitmap { return make(bitmap, pages/64+1) }

func (b bitmap) has(page uint64) bool { return b[page/64]&(1<<(page%64)) != 0 }

// add adds a page, and reports whether it was there already.
func (b bitmap) add(page uint64) (before bool) {
	before = b.has(page)
	b[page/64] |= 1 << (page % 64)
	return before
}

func (b bitmap) count() (n int) {
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return n
}

// A meta is what one of the two meta pages says.
type meta struct {
	pageSize int64
	root     uint64
	freelist uint64
	pages    uint64 // all are below this one
	txid     uint64
	good     bool
}

// readMeta reads a meta page; good says whether its checksum is right.
func readMeta(page []byte) meta {
	b := page[pageHeader:]
	order := binary.NativeEndian
	m := meta{
		pageSize: int64(order.Uint32(b[8:])), root: order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]), pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}
	sum := fnv.New64a()
	sum.Write(b[:56])
	m.good = order.Uint32(b) == boltMagic && order.Uint32(b[4:]) == boltVersion &&
		order.Uint64(b[56:]) == sum.Sum64()
	return m
}

const metaBytes = pageHeader + 64

// A check checks the pages of one state of a file.
type check struct {
	file io.ReaderAt
	size int64
	meta meta
	deep bool // leaf pages are read as well

	used, free bitmap
	levels     [deepest][]byte // the page of each level that is being looked at
	leaves     int             // level of the leaf pages of the tree, where they are not read

	form Form
}

// A Form is what a program expects in the buckets of its file.
type Form interface {
	// Knows reports whether the program has a bucket of this name.
	Knows(bucket []byte) bool

	// Fits reports whether a key and a value have the form that those of a bucket have.
	Fits(bucket string, key, value []byte) bool
}

// Check checks a file that nobody writes to. It reads all branch pages, and the leaf pages too
// if deep. lost is how many pages are neither in use nor free; they do no harm.
func Check(file *os.File, deep bool, form Form) (lost int, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	c := &check{file: file, size: info.Size(), deep: deep, form: form}
	if c.meta, err = newestMeta(file, c.size); err != nil {
		return 0, err
	}
	c.used, c.free = newBitmap(c.meta.pages), newBitmap(c.meta.pages)
	c.used.add(0)
	c.used.add(1)
	if err := c.freelist(); err != nil {
		return 0, err
	}
	err = c.buckets()
	return c.lost(), err
}

// newestMeta returns what the meta page of the last transaction says, as bbolt chooses
// it, and holds the size of the file against it.
func newestMeta(file io.ReaderAt, size int64) (meta, error) {
	fail := func(page uint64, format string, args ...any) (meta, error) {
		return meta{}, &damagedPage{page: page, reason: fmt.Sprintf(format, args...)}
	}
	page := make([]byte, metaBytes)
	if _, err := file.ReadAt(page, 0); err != nil {
		return fail(0, "the file has %d bytes, which is no vault", size)
	}
	first := readMeta(page)
	at := int64(os.Getpagesize())
	if first.good {
		at = first.pageSize
	}
	if at < 1<<10 || at > 1<<16 || at&(at-1) != 0 {
		return fail(0, "pages of %d bytes", at)
	}
	if _, err := file.ReadAt(page, at); err != nil {
		return fail(1, "the file has %d bytes, which is no vault", size)
	}
	second := readMeta(page)
	newest, number := first, uint64(0)
	switch {
	case !first.good && !second.good:
		return fail(0, "neither meta page has its checksum")
	case !first.good:
		newest, number = second, 1
	case second.good:
		// A transaction replaces the meta page of the one before the last. After a
		// snapshot was taken, one number may be left out.
		if gap := max(first.txid, second.txid) - min(first.txid, second.txid); gap < 1 || gap > 2 ||
			first.pageSize != second.pageSize {
			return fail(0, "the meta pages do not go together: transactions %d and %d", first.txid,
				second.txid)
		}
		if second.txid > first.txid {
			newest, number = second, 1
		}
	}
	switch {
	case newest.pageSize != at:
		return fail(number, "pages of %d bytes", newest.pageSize)
	case newest.pages < 4 || newest.pages > uint64(size/newest.pageSize):
		return fail(number, "the vault has %d pages of %d bytes, and the file %d bytes: it was "+
			"cut short", newest.pages, newest.pageSize, size)
	}
	return newest, nil
}

// damaged returns an error about a page.
func damaged(page uint64, bucket, format string, args ...any) error {
	return &damagedPage{page: page, bucket: bucket, reason: fmt.Sprintf(format, args...)}
}

// A page is one with its overflow.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // from the header on
	unit  int    // it has a multiple of so many bytes, and no more than it needs
}

// read reads a page that something refers to, into memory that a level keeps.
func (c *check) read(id uint64, bucket string, level int, most int64) (p page, err error) {
	if id < 2 || id >= c.meta.pages {
		return p, damaged(id, bucket, "it is referred to, and the vault has %d pages", c.meta.pages)
	}
	data := c.levels[level]
	if int64(len(data)) < c.meta.pageSize {
		data = make([]byte, c.meta.pageSize)
	}
	data = data[:c.meta.pageSize]
	c.levels[level] = data
	begin := int64(id) * c.meta.pageSize
	if _, err := c.file.ReadAt(data, begin); err != nil {
		return p, damaged(id, bucket, "it cannot be read: %v", err)
	}
	order := binary.NativeEndian
	p = page{
		id: id, flags: order.Uint16(data[8:]), count: int(order.Uint16(data[10:])), data: data,
		unit: int(c.meta.pageSize),
	}
	overflow := uint64(order.Uint32(data[12:]))
	switch {
	case order.Uint64(data) != id:
		return p, damaged(id, bucket, "it says that it is page %d", order.Uint64(data))
	case overflow >= c.meta.pages-id || int64(overflow+1)*c.meta.pageSize > most:
		return p, damaged(id, bucket, "it says that it has %d more pages", overflow)
	case overflow > 0:
		p.data = make([]byte, int64(overflow+1)*c.meta.pageSize)
		if _, err := c.file.ReadAt(p.data, begin); err != nil {
			return p, damaged(id, bucket, "it cannot be read: %v", err)
		}
	}
	for i := uint64(1); i <= overflow; i++ {
		if err := c.use(id+i, bucket); err != nil {
			return p, err
		}
	}
	return p, nil
}

// use notes that something refers to a page, which nothing else may.
func (c *check) use(id uint64, bucket string) error {
	switch {
	case id < 2 || id >= c.meta.pages:
		return damaged(id, bucket, "it is referred to, and the vault has %d pages", c.meta.pages)
	case c.used.add(id):
		return damaged(id, bucket, "it is referred to twice")
	case c.free.has(id):
		return damaged(id, bucket, "it is in use and on the list of free pages")
	}
	return nil
}

// freelist reads the list of free pages. A vault without one is whole, and bbolt reads
// all of it to make the list.
func (c *check) freelist() error {
	if c.meta.freelist == noFreelist {
		c.deep = true
		return nil
	}
	const bucket = "" // it belongs to none
	if err := c.use(c.meta.freelist, bucket); err != nil {
		return err
	}
	p, err := c.read(c.meta.freelist, bucket, 0, longestFreelist)
	if err != nil {
		return err
	}
	if p.flags != flagFreelist {
		return damaged(p.id, bucket, "it is not the list of free pages")
	}
	ids, count := p.data[pageHeader:], uint64(p.count)
	if p.count == 0xFFFF { // the first number is the count
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return damaged(p.id, bucket, "the list of free pages has no space for %d", count)
	}
	last := uint64(1)
	for ; count > 0; count, ids = count-1, ids[8:] {
		id := binary.NativeEndian.Uint64(ids)
		if id <= last || id >= c.meta.pages {
			return damaged(p.id, bucket, "the list of free pages has page %d after page %d, of %d",
				id, last, c.meta.pages)
		}
		last = id
		if c.free.add(id); c.used.has(id) {
			return damaged(p.id, bucket, "the list of free pages has itself")
		}
	}
	return nil
}

// lost are the pages that are neither in use nor free. They do no harm.
func (c *check) lost() int {
	return int(c.meta.pages) - c.used.count() - c.free.count()
}

// A tree is the pages of one bucket.
type tree struct {
	bucket string
	// nil where leaf pages need not be read
	leaf func(key, value []byte, flags uint32, at uint64) error
}

// buckets checks the tree of buckets and that of each.
func (c *check) buckets() error {
	type root struct {
		name string
		page uint64
	}
	var roots []root
	top := tree{bucket: "of buckets", leaf: func(key, value []byte, flags uint32, at uint64) error {
		name := fmt.Sprintf("%q", key)
		if c.form.Knows(key) {
			name = string(key)
		}
		if flags != flagBucket || len(value) < bucketSize {
			return damaged(at, name, "its value is none of a bucket")
		}
		if id := binary.NativeEndian.Uint64(value); id != 0 {
			roots = append(roots, root{name, id})
			return nil
		}
		return c.inline(name, value[bucketSize:], at)
	}}
	if err := c.tree(top, c.meta.root); err != nil {
		return err
	}
	for _, r := range roots {
		t := tree{bucket: r.name}
		if c.deep {
			t.leaf = c.element(r.name)
		}
		if err := c.tree(t, r.page); err != nil {
			return err
		}
	}
	return nil
}

// element checks an element of a bucket.
func (c *check) element(bucket string) func(key, value []byte, flags uint32, at uint64) error {
	return func(key, value []byte, flags uint32, at uint64) error {
		if flags != 0 {
			return damaged(at, bucket, "key %x is no value", key)
		}
		if !c.form.Fits(bucket, key, value) {
			return damaged(at, bucket, "key %x or its value, of %d bytes, is of no known form", key,
				len(value))
		}
		return nil
	}
}

// tree checks the tree below a page.
func (c *check) tree(t tree, root uint64) error {
	if err := c.use(root, t.bucket); err != nil {
		return err
	}
	c.leaves = deepest
	return c.below(t, root, 0, nil, nil)
}

// below checks a page, which is in use already, and all below it. Its keys are from a
// key on and before another one; nil for none.
func (c *check) below(t tree, id uint64, level int, from, before []byte) error {
	if level >= deepest {
		return damaged(id, t.bucket, "the tree has more than %d levels", deepest)
	}
	p, err := c.read(id, t.bucket, level, LongestRun)
	if err != nil {
		return err
	}
	switch p.flags {
	case flagLeaf:
		c.leaves = min(c.leaves, level)
		return c.leaf(t, p, from, before)
	case flagBranch:
	default:
		return damaged(id, t.bucket, "it is no page of a tree: flags %#x", p.flags)
	}
	if p.count == 0 {
		return damaged(id, t.bucket, "it is a branch without branches")
	}
	elements := walker{page: p, from: from, before: before}
	for elements.next() {
		if err := c.use(elements.child, t.bucket); err != nil {
			return err
		}
	}
	if elements.err != "" {
		return damaged(id, t.bucket, "%s", elements.err)
	}
	// The page stays as it is in the memory of its level, while those below are read.
	elements = walker{page: p, from: from, before: before}
	for more := elements.next(); more; {
		child, first := elements.child, elements.key
		more = elements.next()
		end := before
		if more {
			end = elements.key
		}
		if t.leaf == nil && level+1 == c.leaves {
			continue // a leaf, which is not to be read
		}
		if err := c.below(t, child, level+1, first, end); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks a leaf page, and its elements if the tree wants to know.
func (c *check) leaf(t tree, p page, from, before []byte) error {
	elements := walker{page: p, from: from, before: before}
	for elements.next() {
		if t.leaf == nil {
			continue
		}
		if err := t.leaf(elements.key, elements.value, elements.flags, p.id); err != nil {
			return err
		}
	}
	if elements.err != "" {
		return damaged(p.id, t.bucket, "%s", elements.err)
	}
	return nil
}

// inline checks a bucket that is so small that it is the value of its name.
func (c *check) inline(bucket string, data []byte, at uint64) error {
	if len(data) < pageHeader {
		return damaged(at, bucket, "it is too short")
	}
	order := binary.NativeEndian
	p := page{
		id: at, flags: order.Uint16(data[8:]), count: int(order.Uint16(data[10:])),
		data: data, unit: 1,
	}
	if order.Uint64(data) != 0 || p.flags != flagLeaf || order.Uint32(data[12:]) != 0 {
		return damaged(at, bucket, "it is no page of a bucket")
	}
	return c.leaf(tree{bucket: bucket, leaf: c.element(bucket)}, p, nil, nil)
}

// A walker goes through the elements of a page.
type walker struct {
	page         page
	from, before []byte // bounds of the keys

	index int
	end   int // of what the elements before have

	key, value []byte
	child      uint64 // of a branch
	flags      uint32 // of a leaf
	err        string
}

// next goes to the next element. At the end, and where an element is not as it should
// be, it returns false.
func (w *walker) next() bool {
	data, order := w.page.data, binary.NativeEndian
	if w.index == 0 {
		if w.end = pageHeader + w.page.count*elementSize; w.end > len(data) {
			return w.fail("it has no space for %d elements", w.page.count)
		}
	}
	if w.index == w.page.count {
		if space := len(data); (w.end+w.page.unit-1)/w.page.unit*w.page.unit != space {
			return w.fail("%d bytes are used of %d", w.end, space)
		}
		return false
	}
	at := pageHeader + w.index*elementSize
	var position, keyLength, valueLength int64
	if w.page.flags == flagLeaf {
		w.flags = order.Uint32(data[at:])
		position, keyLength, valueLength = int64(order.Uint32(data[at+4:])),
			int64(order.Uint32(data[at+8:])), int64(order.Uint32(data[at+12:]))
	} else {
		position, keyLength = int64(order.Uint32(data[at:])), int64(order.Uint32(data[at+4:]))
		w.child = order.Uint64(data[at+8:])
	}
	if int64(at)+position != int64(w.end) || keyLength == 0 || int64(w.end)+keyLength+
		valueLength > int64(len(data)) {
		return w.fail("element %d of %d is not where it should be", w.index, w.page.count)
	}
	last := w.key
	keyEnd := w.end + int(keyLength)
	w.key, w.value = data[w.end:keyEnd:keyEnd], data[keyEnd:keyEnd+int(valueLength)]
	w.end = keyEnd + int(valueLength)
	switch {
	case w.index == 0 && w.from != nil && bytes.Compare(w.key, w.from) < 0,
		w.index > 0 && bytes.Compare(w.key, last) <= 0,
		w.before != nil && bytes.Compare(w.key, w.before) >= 0:
		return w.fail("its key %x is out of order", w.key)
	}
	w.index++
	return true
}

func (w *walker) fail(format string, args ...any) bool {
	w.err = fmt.Sprintf(format, args...)
	return false
}
