package table

import (
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/cache"
	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Blocks is a cache of the blocks of many stores.
type Blocks = cache.Cache[*block]

// NewBlocks makes a cache of so many bytes; zero or fewer hold nothing.
func NewBlocks(bytes int) *Blocks { return cache.New[*block](bytes) }

// Cache is one store's part of Blocks; Reader keys it by file number.
type Cache = cache.Part[*block]

// NewCache makes a cache of so many bytes for a store alone.
func NewCache(bytes int) *Cache { return NewBlocks(bytes).Part(0) }

// Reader reads one table. Safe for concurrent use.
type Reader struct {
	source     source
	cache      *Cache
	index      *index
	filter     []byte
	properties Properties
	ranges     *rangedel.Set
}

// Open reads what is needed to find rows. It takes over the file: Close closes it; on an error
// it is closed already.
func Open(file vfs.File, name string, number uint64, blocks *Cache) (*Reader, error) {
	r := &Reader{source: source{file: file, name: name, number: number}, cache: blocks}
	if err := r.load(); err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) load() error {
	size, err := r.source.file.Size()
	if err != nil {
		return fmt.Errorf("size of %s: %w", r.source.name, err)
	}
	r.source.size = size
	if size < footerBytes {
		return corrupt.Shape(r.source.name, 0, "length of file", "136 bytes or more", size)
	}
	var raw [footerBytes]byte
	if err := r.source.readAt(raw[:], size-footerBytes); err != nil {
		return err
	}
	f, err := parseFooter(raw[:], r.source.name, size-footerBytes, r.source.number)
	if err != nil {
		return err
	}
	if err := r.loadRanges(f.ranges); err != nil {
		return err
	}
	if err := r.loadIndex(f.index); err != nil {
		return err
	}
	if r.filter, err = r.source.read(f.filter); err != nil {
		return err
	}
	if n := len(r.filter); n == 0 || n%filterGroupBytes != 0 {
		return corrupt.Shape(r.source.name, int64(f.filter.offset), "filter length", "a multiple of 64", n)
	}
	properties, err := r.source.read(f.properties)
	if err != nil {
		return err
	}
	var ok bool
	if r.properties, ok = parseProperties(properties); !ok {
		return r.malformed(f.properties, "properties")
	}
	return nil
}

// loadIndex reads the index. A table of range tombstones alone has none.
func (r *Reader) loadIndex(h handle) error {
	if h == (handle{}) && r.ranges != nil {
		r.index = &index{}
		return nil
	}
	tree, err := r.source.read(h)
	if err != nil {
		return err
	}
	if r.index, err = parseIndex(tree, h.offset); err != nil {
		return r.malformed(h, "index")
	}
	return nil
}

// Properties describe the table. Their keys are read-only.
func (r *Reader) Properties() *Properties { return &r.properties }

// Size is the length of the file.
func (r *Reader) Size() int64 { return r.source.size }

// ResidentBytes is what index, filter and range tombstones take in memory as long as the table is open.
func (r *Reader) ResidentBytes() int { return r.index.bytes() + len(r.filter) + r.ranges.Bytes() }

// Close closes the file. Nobody may use the reader or its cursors any more.
func (r *Reader) Close() error { return r.source.file.Close() }

func (r *Reader) malformed(h handle, what string) error {
	return corrupt.Shape(r.source.name, int64(h.offset), what, "well-formed bytes", "malformed ones")
}

// place is where the cache has a block.
func (r *Reader) place(h handle) cache.Place {
	if seededbug.Enabled(seededbug.EngineCacheWithoutFile) {
		return cache.Place{Offset: h.offset}
	}
	return cache.Place{File: r.source.number, Offset: h.offset}
}

// blockOverhead is about what a block takes in memory beside its bytes.
const blockOverhead = 320

// block gets a block from the cache, or from the disk, and keeps it.
func (r *Reader) block(i int) (*block, error) {
	h := r.index.handle(i)
	place := r.place(h)
	if b, ok := r.cache.Get(place); ok {
		return b, nil
	}
	raw, err := r.source.read(h)
	if err != nil {
		return nil, err
	}
	b := new(block)
	if err := r.parse(b, raw, i); err != nil {
		return nil, err
	}
	r.cache.Add(place, b, len(raw)+blockOverhead)
	return b, nil
}

// parse makes bytes the block with a number (B5).
func (r *Reader) parse(b *block, raw []byte, i int) error {
	if b.parse(raw) != nil || b.far.bytes(b) != r.index.fars.get(r.index.data, i) {
		return r.malformed(r.index.handle(i), "block")
	}
	return nil
}

// MayContain asks the filter about the hash of a user key; false is certain.
func (r *Reader) MayContain(hash uint64) bool { return mayContain(r.filter, hash) }

// Get finds the newest row of a user key, whose hash the caller knows, with a version and a sequence not above at's. The
// row's user key is at's; its value is immutable and belongs to nobody, or it is far, for Value to read. row is for the answer, and is spoilt without one.
func (r *Reader) Get(at *record.Key, hash uint64, row *record.Row) (ok bool, err error) {
	if !mayContain(r.filter, hash) {
		return false, nil
	}
	k := record.Key{User: at.User, Version: at.Version, Sequence: record.MaxSequence}
	n := r.index.find(&k)
	b, err := r.block(n)
	if err != nil {
		return false, err
	}
	i, equal := b.seek(&k)
	for {
		if i == b.count { // the key's rows may go on in the next block
			if n++; n == r.index.count || !r.index.spans(n, at.User) {
				return false, nil
			}
			if b, err = r.block(n); err != nil {
				return false, err
			}
			i, equal = 0, b.keys.isAt(b.data, 0, at.User)
		}
		if !equal {
			return false, nil
		}
		if b.sequence.get(b.data, i) <= at.Sequence {
			b.fill(i, row)
			if row.User, row.Far = at.User, (record.Far{}); b.far.any {
				row.Far = farOf(b.far.at(b, i, r.index.start(n)), nil)
			}
			return true, nil
		}
		if i++; i < b.count {
			equal = b.keys.isAt(b.data, i, at.User)
		}
	}
}

// isAt reports whether key i is a user key.
func (k *keys) isAt(data []byte, i int, user []byte) bool {
	rest, _, ok := k.cut(user)
	return ok && k.compare(data, i, rest) == 0
}
