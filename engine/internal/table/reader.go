package table

import (
	"bytes"
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/cache"
	"github.com/lightning-db/lightning/engine/internal/corrupt"
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
	top        *block
	filter     []byte
	properties Properties
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
		return corrupt.Shape(r.source.name, 0, "length of file", "72 bytes or more", size)
	}
	var raw [footerBytes]byte
	if err := r.source.readAt(raw[:], size-footerBytes); err != nil {
		return err
	}
	f, err := parseFooter(raw[:], r.source.name, size-footerBytes, r.source.number)
	if err != nil {
		return err
	}
	if r.top, err = r.readBlock(f.top); err != nil {
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

// Properties describe the table. Their keys are read-only.
func (r *Reader) Properties() *Properties { return &r.properties }

// Size is the length of the file.
func (r *Reader) Size() int64 { return r.source.size }

// Close closes the file. Nobody may use the reader or its cursors any more.
func (r *Reader) Close() error { return r.source.file.Close() }

func (r *Reader) malformed(h handle, what string) error {
	return corrupt.Shape(r.source.name, int64(h.offset), what, "well-formed bytes", "malformed ones")
}

func (r *Reader) readBlock(h handle) (*block, error) {
	raw, err := r.source.read(h)
	if err != nil {
		return nil, err
	}
	b, err := parseBlock(raw)
	if err != nil {
		return nil, r.malformed(h, "block")
	}
	return b, nil
}

// block gets a block from the cache or from the disk; fill tells whether to keep it.
func (r *Reader) block(h handle, fill bool) (*block, error) {
	place := cache.Place{File: r.source.number, Offset: h.offset}
	if seededbug.Enabled(seededbug.EngineCacheWithoutFile) {
		place.File = 0
	}
	if b, ok := r.cache.Get(place); ok {
		return b, nil
	}
	b, err := r.readBlock(h)
	if err == nil && fill {
		r.cache.Add(place, b, len(b.rows)+len(b.restarts)+64)
	}
	return b, err
}

// MayContain asks the filter; false is certain.
func (r *Reader) MayContain(user []byte) bool { return mayContain(r.filter, hashKey(user)) }

// Get finds the newest row of a user key with a version and a sequence not above at's. The row's
// bytes are immutable and belong to nobody.
func (r *Reader) Get(at record.Key) (row record.Row, ok bool, err error) {
	if !r.MayContain(at.User) {
		return row, false, nil
	}
	c := r.NewCursor(true)
	k := record.Key{User: at.User, Version: at.Version, Sequence: record.MaxSequence}
	for c.Seek(&k, record.Forward); c.Row() != nil; c.Step() {
		found := c.Row()
		if !bytes.Equal(found.User, at.User) {
			break
		}
		if found.Sequence <= at.Sequence {
			return *found, true, nil
		}
	}
	return row, false, c.Err()
}
