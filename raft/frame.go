package raft

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A frame is one message of one group between two nodes:
//
//	 0  crc32c   u32 LE, of everything after it
//	 4  kind     u8
//	 5  flags    u8   1 = answer, 2 = the payload is the text of an error
//	 6  group    u64 LE
//	14  sequence u64 LE, chosen by the asker, repeated in the answer
//	22  from     uvarint length, replica id
//	    to       uvarint length, replica id
//	    payload  the rest
//
// docs/formats/raft-wire.md specifies it and the payloads.
type frame struct {
	kind     frameKind
	flags    byte
	group    GroupID
	sequence uint64
	from, to string
	payload  []byte
}

type frameKind uint8

// The kinds. The numbers are on the wire.
const (
	kindAppendEntries frameKind = 1
	kindRequestVote   frameKind = 2
	kindPreVote       frameKind = 3
	kindTimeoutNow    frameKind = 4
	kindProbe         frameKind = 5
	kindInstall       frameKind = 6
	kindSnapshotData  frameKind = 7
)

const (
	flagAnswer byte = 1
	flagError  byte = 2
)

const frameFixedBytes = 22

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errFrameChecksum  = errors.New("raft frame: checksum mismatch")
	errFrameMalformed = errors.New("raft frame: malformed")
)

func (f *frame) encode() []byte {
	b := make([]byte, frameFixedBytes, frameFixedBytes+len(f.from)+len(f.to)+2*binary.MaxVarintLen16+len(f.payload))
	b[4], b[5] = byte(f.kind), f.flags
	binary.LittleEndian.PutUint64(b[6:], uint64(f.group))
	binary.LittleEndian.PutUint64(b[14:], f.sequence)
	b = appendField(b, []byte(f.from))
	b = appendField(b, []byte(f.to))
	b = append(b, f.payload...)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// decodeFrame verifies and decodes; the payload aliases b.
func decodeFrame(b []byte) (frame, error) {
	if len(b) < frameFixedBytes {
		return frame{}, errFrameMalformed
	}
	if binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return frame{}, errFrameChecksum
	}
	f := frame{
		kind: frameKind(b[4]), flags: b[5],
		group:    GroupID(binary.LittleEndian.Uint64(b[6:])),
		sequence: binary.LittleEndian.Uint64(b[14:]),
	}
	d := decoder{rest: b[frameFixedBytes:]}
	f.from, f.to = string(d.field()), string(d.field())
	if d.bad {
		return frame{}, errFrameMalformed
	}
	f.payload = d.rest
	return f, nil
}

// answer is the frame that answers f.
func (f *frame) answer(payload []byte, err error) *frame {
	a := &frame{
		kind: f.kind, flags: flagAnswer, group: f.group, sequence: f.sequence,
		from: f.to, to: f.from, payload: payload,
	}
	if err != nil {
		a.flags |= flagError
		a.payload = []byte(err.Error())
	}
	return a
}
