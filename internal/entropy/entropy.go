package entropy

import (
	"crypto/rand"
	"encoding/binary"
	"io"

	"github.com/google/uuid"
)

// Source yields random bytes. Safe for concurrent use.
type Source struct {
	reader io.Reader
}

// System is the operating system's generator.
func System() Source { return Source{reader: rand.Reader} }

// From reads the bits from r, which must be safe for the caller's concurrency and must not fail.
func From(r io.Reader) Source { return Source{reader: r} }

// Uint64 returns 64 random bits.
func (s Source) Uint64() (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(s.reader, b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// UUID returns a random UUID (version 4) in its text form.
func (s Source) UUID() (string, error) {
	id, err := uuid.NewRandomFromReader(s.reader)
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

// Read fills p with random bits; it implements io.Reader.
func (s Source) Read(p []byte) (int, error) { return io.ReadFull(s.reader, p) }
