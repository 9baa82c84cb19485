package parts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/api"
)

// ErrMalformed is a row that this package did not write.
var ErrMalformed = errors.New("malformed row of parts")

// The keys of the rows. They are system rows of the shard (docs/formats/keys.md).
const (
	prefixSystem  = 0x00
	systemStaging = 0x04
	systemDue     = 0x05
)

// StagingKey is the key of what is staged for a request.
func StagingKey(s api.SessionID, sequence uint64) []byte {
	dst := append(make([]byte, 0, stagingKeyBytes), prefixSystem, systemStaging)
	dst = binary.BigEndian.AppendUint64(dst, s.CreatedMillis)
	dst = binary.BigEndian.AppendUint64(dst, s.Random)
	return binary.BigEndian.AppendUint64(dst, sequence)
}

const stagingKeyBytes = 2 + 3*8

// RequestOf reads the request out of such a key.
func RequestOf(key []byte) (s api.SessionID, sequence uint64, err error) {
	if len(key) != stagingKeyBytes || key[0] != prefixSystem || key[1] != systemStaging {
		return api.SessionID{}, 0, fmt.Errorf("key of what is staged: %w", ErrMalformed)
	}
	s.CreatedMillis = binary.BigEndian.Uint64(key[2:])
	s.Random = binary.BigEndian.Uint64(key[10:])
	return s, binary.BigEndian.Uint64(key[18:]), nil
}

// AllStaged are the keys [start, end) of what is staged.
func AllStaged() (start, end []byte) {
	return []byte{prefixSystem, systemStaging}, []byte{prefixSystem, systemStaging + 1}
}

// dueKey is the key of a row that says when parts are to be deleted. They sort by that time.
func dueKey(dueMillis uint64, id api.Version, first uint32) []byte {
	dst := append(make([]byte, 0, dueKeyBytes), prefixSystem, systemDue)
	dst = binary.BigEndian.AppendUint64(dst, dueMillis)
	dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	return binary.BigEndian.AppendUint32(dst, first)
}

const dueKeyBytes = 2 + 8 + 8 + 4

// DueUntil are the keys [start, end) of what is due at a time.
func DueUntil(nowMillis uint64) (start, end []byte) {
	return dueKey(0, 0, 0), dueKey(nowMillis+1, 0, 0)
}

// staging is the row of a request whose parts wait for their batch.
//
//	format u8 = 1 | id u64 | deadline ms u64 | parts × { number u32 | length u32 | checksum u32 }
type staging struct {
	// id is that under which the parts are kept: the version of the first of them that came.
	id             api.Version
	deadlineMillis uint64
	parts          []staged // by number
}

type staged struct{ number, bytes, sum uint32 }

const (
	stagingFormat      = 1
	stagingHeaderBytes = 1 + 8 + 8
	stagedBytes        = 3 * 4
)

func (s *staging) encode() []byte {
	dst := append(make([]byte, 0, stagingHeaderBytes+len(s.parts)*stagedBytes), stagingFormat)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.id))
	dst = binary.BigEndian.AppendUint64(dst, s.deadlineMillis)
	for _, p := range s.parts {
		dst = binary.BigEndian.AppendUint32(dst, p.number)
		dst = binary.BigEndian.AppendUint32(dst, p.bytes)
		dst = binary.BigEndian.AppendUint32(dst, p.sum)
	}
	return dst
}

func decodeStaging(row []byte) (staging, error) {
	if len(row) < stagingHeaderBytes || (len(row)-stagingHeaderBytes)%stagedBytes != 0 || row[0] != stagingFormat {
		return staging{}, fmt.Errorf("what is staged, %d bytes: %w", len(row), ErrMalformed)
	}
	s := staging{id: api.Version(binary.BigEndian.Uint64(row[1:])), deadlineMillis: binary.BigEndian.Uint64(row[9:])}
	for row = row[stagingHeaderBytes:]; len(row) > 0; row = row[stagedBytes:] {
		p := staged{binary.BigEndian.Uint32(row), binary.BigEndian.Uint32(row[4:]), binary.BigEndian.Uint32(row[8:])}
		n := len(s.parts)
		if p.number >= api.MaxBatchParts || p.bytes == 0 || p.bytes > api.MaxPartBytes || n > 0 && p.number <= s.parts[n-1].number {
			return staging{}, fmt.Errorf("part %d of %d bytes: %w", p.number, p.bytes, ErrMalformed)
		}
		s.parts = append(s.parts, p)
	}
	return s, nil
}

func (s *staging) find(number uint32) (at int, found bool) {
	return slices.BinarySearchFunc(s.parts, number, func(p staged, n uint32) int { return int(p.number) - int(n) })
}

func (s *staging) bytes() uint64 {
	n := uint64(0)
	for _, p := range s.parts {
		n += uint64(p.bytes)
	}
	return n
}

// has reports whether all parts of a value are there, and are what the sender means.
func (s *staging) has(want *api.Parts) bool {
	at, _ := s.find(want.First)
	sum := uint32(0)
	for n := range want.Count {
		i := at + int(n)
		if i >= len(s.parts) || s.parts[i].number != want.First+n || int(s.parts[i].bytes) != want.PartBytes(n) {
			return false
		}
		sum = api.AddPartSum(sum, s.parts[i].sum)
	}
	return sum == want.Checksum
}
