package wire

import "encoding/binary"

// Beat is the heartbeat of one leader to one replica. Heartbeats of all groups between two nodes
// travel together.
type Beat struct {
	Group, Term uint64
	From, To    []byte // replica ids
}

// AppendBeat appends b to the payload of a frame of KindBeats.
func AppendBeat(p []byte, b *Beat) []byte {
	p = binary.AppendUvarint(p, b.Group)
	p = binary.AppendUvarint(p, b.Term)
	p = AppendField(p, b.From)
	return AppendField(p, b.To)
}

// Beat is the next heartbeat of a payload, which it aliases.
func (d *Decoder) Beat() Beat {
	return Beat{Group: d.Uvarint(), Term: d.Uvarint(), From: d.Field(), To: d.Field()}
}

// BeatAnswer answers one heartbeat of a frame, whose place in it is Slot.
type BeatAnswer struct {
	Slot   uint64
	Status BeatStatus
	// Of a replica that answered: its term, the index of its last entry, and the index up to which it
	// knows entries to be committed.
	Term, LastLog, Commit uint64
}

// BeatStatus is how a heartbeat was answered.
type BeatStatus byte

// The statuses. The numbers are on the wire.
const (
	BeatRefused BeatStatus = 0 // the replica is not there, or has too much to do
	BeatYes     BeatStatus = 1
	BeatNo      BeatStatus = 2 // the replica follows a later term
)

// AppendBeatAnswer appends a to the payload of the answer to a frame of KindBeats.
func AppendBeatAnswer(p []byte, a BeatAnswer) []byte {
	p = binary.AppendUvarint(p, a.Slot)
	p = append(p, byte(a.Status))
	p = binary.AppendUvarint(p, a.Term)
	p = binary.AppendUvarint(p, a.LastLog)
	return binary.AppendUvarint(p, a.Commit)
}

// BeatAnswer is the next answer of a payload.
func (d *Decoder) BeatAnswer() BeatAnswer {
	a := BeatAnswer{Slot: d.Uvarint(), Status: BeatStatus(d.Byte()), Term: d.Uvarint(), LastLog: d.Uvarint(), Commit: d.Uvarint()}
	if a.Status > BeatNo {
		d.Bad = true
	}
	return a
}
