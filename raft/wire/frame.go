package wire

import (
	"encoding/binary"

	hraft "github.com/hashicorp/raft"
)

// Frame is one message of one group between two nodes:
//
//	kind     u8
//	flags    u8   1 = answer, 2 = the payload is the text of an error, 4 = more answers follow
//	group    uvarint
//	sequence uvarint, chosen by the asker, repeated in the answer
//	from     field, replica id; empty in an answer
//	to       field, replica id; empty in an answer
//	payload  the rest
//
// docs/formats/raft-wire.md specifies it and the payloads.
type Frame struct {
	Kind     Kind
	Flags    byte
	Group    uint64
	Sequence uint64
	From, To []byte
	Payload  []byte
	// Append, if not nil, is encoded in place of Payload. It is nil in a decoded frame.
	Append *hraft.AppendEntriesRequest
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
	KindBeats         Kind = 8 // heartbeats of many groups
)

const (
	flagAnswer byte = 1
	flagError  byte = 2
	flagMore   byte = 4
)

// frameFixedBytes bounds what a frame takes besides its ids and its payload.
const frameFixedBytes = lengthBytes + 2 + 4*binary.MaxVarintLen64

// MaxBytes bounds what AppendFrame appends.
func (f *Frame) MaxBytes() int {
	n := frameFixedBytes + len(f.From) + len(f.To) + len(f.Payload)
	if f.Append != nil {
		n += AppendEntriesBytes(f.Append)
	}
	return n
}

func (f *Frame) append(b []byte) []byte {
	b = append(b, byte(f.Kind), f.Flags)
	b = binary.AppendUvarint(b, f.Group)
	b = binary.AppendUvarint(b, f.Sequence)
	b = AppendField(b, f.From)
	b = AppendField(b, f.To)
	if f.Append != nil {
		return AppendAppendEntries(b, f.Append)
	}
	return append(b, f.Payload...)
}

func (f *Frame) decode(b []byte) error {
	d := Decoder{Rest: b}
	*f = Frame{Kind: Kind(d.Byte()), Flags: d.Byte(), Group: d.Uvarint(), Sequence: d.Uvarint(), From: d.Field(), To: d.Field()}
	if d.Bad || f.Flags&^(flagAnswer|flagError|flagMore) != 0 {
		return ErrMalformed
	}
	f.Payload = d.Rest
	return nil
}

// Answer is the frame that answers a request of a kind, group and sequence number.
func Answer(kind Kind, group, sequence uint64, payload []byte, err error) Frame {
	a := Frame{Kind: kind, Flags: flagAnswer, Group: group, Sequence: sequence, Payload: payload}
	if err != nil {
		a.Flags |= flagError
		a.Payload = []byte(err.Error())
	}
	return a
}

// Failed reports whether the frame is an answer that carries the text of an error.
func (f *Frame) Failed() bool { return f.Flags&flagError != 0 }

// SetMore says that further answers to the same request follow.
func (f *Frame) SetMore() { f.Flags |= flagMore }

// More reports whether further answers to the same request follow.
func (f *Frame) More() bool { return f.Flags&flagMore != 0 }
