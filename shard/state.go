package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard/parts"
)

// state is everything that apply remembers between entries but rows of keys and sessions. It is
// one row of the engine, written with every batch (S6).
type state struct {
	// What the configure command set. configured is false for a fresh shard, which owns no slot.
	configured bool
	shard      api.ShardID
	arc        router.Arc
	epoch      api.Epoch
	// retentionMillis is how long versions are kept that nobody has a snapshot of.
	retentionMillis uint64

	// last is shard time: the version of the last command or tick (S2).
	last api.Version
	// term is the term of the last entry.
	term api.Term
	// ceilingMillis is the highest ceiling so far: no leader has used a time above it.
	ceilingMillis uint64
	// earlierCeilingMillis is the highest ceiling of the terms before term: its leader starts above.
	earlierCeilingMillis uint64

	// run is the newest run of entries, and next the sequence of its next entry (S9).
	run, next uint64

	// digest is that of the effects of all entries so far, the same on each replica.
	digest uint64

	// lastWrite is the version of the last command that changed a row.
	lastWrite api.Version
	// latestExpiryMillis is the highest expiry that was ever written.
	latestExpiryMillis uint64

	// sessions is the number of session rows.
	sessions uint64
	// sweptMillis is when idle sessions were last looked for, and sweepFrom where to go on.
	sweptMillis uint64
	sweepFrom   api.SessionID

	// parts is what there is of values in parts.
	parts parts.Counts

	// splitOff is the shard that was split off last, 0 for none.
	splitOff api.ShardID
	// foreign is how far ticks have looked for rows of slots that went to another shard.
	foreign foreign

	// position is where the engine stood with this state. It is not a part of the row.
	position engine.Position
}

const stateFormat = 4

// append encodes the state row:
//
//	format u8 = 4 | configured u8 | shard | arc | epoch | retention | last | term | ceiling | earlier
//	ceiling | last write | latest expiry | sessions | swept | sweep from, its creation | run | next
//	| stagings | staged bytes | values in parts | due | split off | foreign swept, each uvarint | foreign from, its length and bytes | sweep from, its random half, u64 | digest u64
func (s *state) append(dst []byte) []byte {
	dst = append(dst, stateFormat)
	dst = appendFlag(dst, s.configured)
	for _, v := range [...]uint64{
		uint64(s.shard), uint64(s.arc.Start), uint64(s.arc.End), uint64(s.epoch), s.retentionMillis,
		uint64(s.last), uint64(s.term), s.ceilingMillis, s.earlierCeilingMillis,
		uint64(s.lastWrite), s.latestExpiryMillis, s.sessions, s.sweptMillis, s.sweepFrom.CreatedMillis,
		s.run, s.next, s.parts.Stagings, s.parts.StagedBytes, s.parts.Values, s.parts.Due,
		uint64(s.splitOff), s.foreign.sweptMillis,
	} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = appendBytes(dst, []byte(s.foreign.from))
	dst = binary.BigEndian.AppendUint64(dst, s.sweepFrom.Random)
	return binary.BigEndian.AppendUint64(dst, s.digest)
}

func decodeState(row []byte) (state, error) {
	r := byteReader{rest: row}
	if format := r.byte(); r.bad || format != stateFormat {
		return state{}, fmt.Errorf("decode state row: format: %w", errMalformed)
	}
	s := state{configured: r.flag(), shard: api.ShardID(r.uvarint())}
	start, end := r.uvarint(), r.uvarint()
	if start > end || end > api.SlotCount {
		r.fail()
	}
	s.arc = router.Arc{Start: uint32(start), End: uint32(end)}
	s.epoch = api.Epoch(r.uvarint())
	s.retentionMillis = r.uvarint()
	s.last = api.Version(r.uvarint())
	s.term = api.Term(r.uvarint())
	s.ceilingMillis = r.uvarint()
	s.earlierCeilingMillis = r.uvarint()
	s.lastWrite = api.Version(r.uvarint())
	s.latestExpiryMillis = r.uvarint()
	s.sessions = r.uvarint()
	s.sweptMillis = r.uvarint()
	s.sweepFrom.CreatedMillis = r.uvarint()
	s.run, s.next = r.uvarint(), r.uvarint()
	s.parts = parts.Counts{Stagings: r.uvarint(), StagedBytes: r.uvarint(), Values: r.uvarint(), Due: r.uvarint()}
	s.splitOff, s.foreign.sweptMillis = api.ShardID(r.uvarint()), r.uvarint()
	s.foreign.from = string(r.bytes())
	s.sweepFrom.Random = r.uint64()
	s.digest = r.uint64()
	if err := r.done(); err != nil {
		return state{}, fmt.Errorf("decode state row: %w", err)
	}
	return s, nil
}

// beginTerm notes the term of an entry before anything of it is evaluated.
func (s *state) beginTerm(t api.Term) {
	if t > s.term {
		s.term, s.earlierCeilingMillis = t, s.ceilingMillis
	}
}

// noNext is the next sequence of a run that is broken: nothing more of it is applied.
const noNext = ^uint64(0)

// follows reports whether an entry is the next one of its run, or the first one of a later run,
// and notes it (S9).
func (s *state) follows(run, sequence uint64) bool {
	if !(run > s.run && sequence == 0 || run == s.run && sequence == s.next) && !seededbug.Enabled(seededbug.ShardApplyOutOfOrder) {
		return false
	}
	s.run, s.next = run, sequence+1
	return true
}

// nextVersion is the version of the next command of an entry proposed at t (S2): not before the
// entry's time, above every earlier version, and above every time that a leader of an earlier
// term may have used for a read (S3).
func (s *state) nextVersion(t api.Version) api.Version {
	v := max(t, s.last+1, api.VersionAt(s.earlierCeilingMillis)+1)
	s.last = v
	s.ceilingMillis = max(s.ceilingMillis, v.Millis())
	return v
}

// horizon is what the engine may forget: what was overwritten, deleted or had expired a
// retention ago.
func (s *state) horizon() engine.Horizon {
	now := s.last.Millis()
	if now <= s.retentionMillis {
		return engine.Horizon{}
	}
	at := now - s.retentionMillis
	return engine.Horizon{Version: engine.Version(api.VersionAt(at)), ExpiryMillis: at}
}

// wantsTime reports whether data waits for shard time to move before it may leave the disk.
func (s *state) wantsTime() bool {
	h := s.horizon()
	return s.latestExpiryMillis > h.ExpiryMillis || uint64(s.lastWrite) > uint64(h.Version)
}

// wantsTick reports whether an idle shard's leader should tick: once an interval, while data
// waits for time to move or there are sessions, parts of values or rows of
// other shards to look through.
func (s *state) wantsTick(wallMillis, intervalMillis uint64) bool {
	return s.wantsTime() && s.last.Millis()+intervalMillis <= wallMillis ||
		s.sessions+s.parts.Stagings+s.parts.Due > 0 && s.sweptMillis+intervalMillis <= wallMillis ||
		s.wantsForeignTick(wallMillis)
}

// rowVersion is the version of the state row and of every other row that is not a user's.
func (s *state) rowVersion() engine.Version { return engine.Version(max(s.last, 1)) }
