package server

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// outcomeSum computes the checksums of outcomes (P4), as forward.proto specifies them. One is used again for all
// outcomes of a message: what a checksum is taken of escapes.
type outcomeSum struct {
	sum  uint32
	head [37]byte
}

// of is the checksum of an outcome that is not empty.
func (s *outcomeSum) of(o *peerv1.ForwardOutcome) uint32 {
	s.sum = 0
	if seededbug.Enabled(seededbug.ServerSkipChecksum) {
		return 0
	}
	if f := o.GetFailure(); f != nil {
		d := f.Detail
		s.head[0] = 'f'
		binary.LittleEndian.PutUint64(s.head[1:], d.GetShardId())
		binary.LittleEndian.PutUint64(s.head[9:], d.GetEpoch())
		s.lengths(17, len(f.Message), len(d.GetCode()), len(d.GetLeaderId()))
		s.add(s.head[:29], []byte(f.Message), []byte(d.GetCode()), []byte(d.GetLeaderId()))
		return s.sum
	}
	r := o.GetResult()
	s.head[0] = 'r'
	s.head[1] = bit(r.Applied, 0)
	binary.LittleEndian.PutUint32(s.head[2:], r.FailedOp)
	binary.LittleEndian.PutUint64(s.head[6:], r.Version)
	s.add(s.head[:14])
	for _, op := range r.Results {
		s.head[0] = bit(op.Existed, 0) | bit(op.Applied, 1) | bit(op.Previous != nil, 2) | bit(op.Text != nil, 3)
		binary.LittleEndian.PutUint64(s.head[1:], op.PreviousVersion)
		binary.LittleEndian.PutUint64(s.head[9:], op.PreviousExpiryMs)
		binary.LittleEndian.PutUint64(s.head[17:], uint64(op.Number))
		s.lengths(25, len(op.ErrorCode), len(op.Previous), len(op.Text))
		s.add(s.head[:37], []byte(op.ErrorCode), op.Previous, op.Text)
	}
	return s.sum
}

// lengths puts three lengths at a place.
func (s *outcomeSum) lengths(at int, lengths ...int) {
	for i, n := range lengths {
		binary.LittleEndian.PutUint32(s.head[at+4*i:], uint32(n))
	}
}

func (s *outcomeSum) add(parts ...[]byte) {
	for _, p := range parts {
		s.sum = crc32.Update(s.sum, castagnoli, p)
	}
}

// bit is a flag at its place.
func bit(set bool, place int) byte {
	if set {
		return 1 << place
	}
	return 0
}
