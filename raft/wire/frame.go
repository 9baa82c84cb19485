package wire

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Frame is one message of one group between two nodes:
//
//	 0  crc32c   u32 LE, of everything after it
//	 4  format   u8 = 1
//	 5  kind     u8
//	 6  flags    u8   1 = answer, 2 = the payload is the text of an error
//	 7  group    u64 LE
//	15  sequence u64 LE, chosen by the asker, repeated in the answer
//	23  from     uvarint length, replica id
//	    to       uvarint length, replica id
//	    payload  the rest
//
// docs/formats/raft-wire.md specifies it and the payloads.
type Frame struct {
	Kind     Kind
	Flags    byte
	Group    uint64
	Sequence uint64
	From, To string
	Payload  []byte
}

// Kind says what the payload is.
type Kind uint8

// The kinds. The numbers are on the wire.
const (
	KindAppendEntries Kind = 1
	KindRequestVote   Kind = 2
	KindPreVote       Kind = 3
	KindTimeoutNow    Kind = 4
	KindProbe         Kind = 5
	KindInstall       Kind = 6
	KindSnapshotData  Kind = 7 // part of a snapshot, after KindInstall
)

const (
	flagAnswer byte = 1
	flagError  byte = 2
)

const (
	frameFormat     = 1
	frameFixedBytes = 23
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Why bytes from a peer are refused.
var (
	ErrChecksum  = errors.New("raft frame: checksum mismatch")
	ErrMalformed = errors.New("raft frame: malformed")
)

// Encode returns the frame with its checksum, in a buffer of its own.
func (f *Frame) Encode() []byte {
	b := make([]byte, frameFixedBytes, frameFixedBytes+len(f.From)+len(f.To)+2*binary.MaxVarintLen16+len(f.Payload))
	b[4], b[5], b[6] = frameFormat, byte(f.Kind), f.Flags
	binary.LittleEndian.PutUint64(b[7:], f.Group)
	binary.LittleEndian.PutUint64(b[15:], f.Sequence)
	b = AppendField(b, []byte(f.From))
	b = AppendField(b, []byte(f.To))
	b = append(b, f.Payload...)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return b
}

// DecodeFrame verifies and decodes; the payload aliases b.
func DecodeFrame(b []byte) (Frame, error) {
	if len(b) < frameFixedBytes {
		return Frame{}, ErrMalformed
	}
	if binary.LittleEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return Frame{}, ErrChecksum
	}
	if b[4] != frameFormat || b[6]&^(flagAnswer|flagError) != 0 {
		return Frame{}, ErrMalformed
	}
	f := Frame{
		Kind: Kind(b[5]), Flags: b[6],
		Group:    binary.LittleEndian.Uint64(b[7:]),
		Sequence: binary.LittleEndian.Uint64(b[15:]),
	}
	d := Decoder{Rest: b[frameFixedBytes:]}
	f.From, f.To = string(d.Field()), string(d.Field())
	if d.Bad {
		return Frame{}, ErrMalformed
	}
	f.Payload = d.Rest
	return f, nil
}

// Answer is the frame that answers f.
func (f *Frame) Answer(payload []byte, err error) *Frame {
	a := &Frame{
		Kind: f.Kind, Flags: flagAnswer, Group: f.Group, Sequence: f.Sequence,
		From: f.To, To: f.From, Payload: payload,
	}
	if err != nil {
		a.Flags |= flagError
		a.Payload = []byte(err.Error())
	}
	return a
}

// Failed reports whether the frame is an answer that carries the text of an error.
func (f *Frame) Failed() bool { return f.Flags&flagError != 0 }
