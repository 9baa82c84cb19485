package parts

import (
	"fmt"
	"slices"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Rows is where the rows are: the engine, and what the caller has not committed to it. It copies
// what it keeps but for the keys and values of PutSystem, and the parts.
type Rows interface {
	System(key []byte) (value []byte, found bool, err error)
	PutSystem(key, value []byte)
	DeleteSystem(key []byte)
	PutPart(key, part []byte, v api.Version)
	DeletePart(key []byte, v api.Version)
}

// Counts is what a shard remembers of its parts, in its state row.
type Counts struct {
	// Stagings is the number of requests with parts that wait for their batch, and StagedBytes what
	// these parts are together.
	Stagings, StagedBytes uint64
	// Values is the number of values whose parts are not deleted, and Due that of the rows that say
	// when some are to be.
	Values, Due uint64
}

// Bounds, part of the meaning of the commands.
const (
	// maxStageMillis is how long parts may wait for their batch: longer than any request may take.
	maxStageMillis = uint64(2 * time.Minute / time.Millisecond)

	// maxStagings and maxStagedBytes bound what is staged on a shard.
	maxStagings    = 256
	maxStagedBytes = api.MaxStagedBatches * api.MaxBatchBytes

	// maxDeleted bounds the parts that one entry deletes, and one tick: what is more is due at the
	// next tick. It is a gibibyte of values.
	maxDeleted = 4096
)

// Keeper keeps the parts while an entry is applied.
type Keeper struct {
	Rows Rows
	*Counts
	deleted int // parts that the entry has deleted
	key     []byte
}

// Begin begins an entry.
func (k *Keeper) Begin() { k.deleted = 0 }

var (
	errMissing = api.Errorf(api.CodePartsMissing, "parts of a value are not there: they were not all sent, another try took them back, or their deadline has passed")
	errShared  = api.Errorf(api.CodeInvalid, "two values of a batch have the same parts")
)

// staged finds what is staged for a request.
func (k *Keeper) staged(id api.RequestID) (s staging, found bool, err error) {
	if k.Stagings == 0 || id.IsZero() {
		return staging{}, false, nil
	}
	raw, found, err := k.Rows.System(StagingKey(id.Session, id.Sequence))
	if err == nil && found {
		s, err = decodeStaging(raw)
	}
	return s, found, err
}

// Take takes a part in for a request, at a version, until a deadline.
func (k *Keeper) Take(id api.RequestID, number uint32, part []byte, deadlineMillis uint64, v api.Version) (*api.Error, error) {
	s, found, err := k.staged(id)
	if err != nil {
		return nil, err
	}
	now, size := v.Millis(), uint64(len(part))
	at, again := s.find(number)
	p := staged{number, uint32(size), api.PartSum(part)}
	switch {
	case now > deadlineMillis:
		return api.Errorf(api.CodeExpired, "the shard's time is %d ms past the deadline", now-deadlineMillis), nil
	case deadlineMillis > now+maxStageMillis:
		return api.Errorf(api.CodeInvalid, "parts are kept for at most %d ms, and the deadline is %d ms ahead", maxStageMillis, deadlineMillis-now), nil
	case again && s.parts[at] != p:
		return api.Errorf(api.CodeInvalid, "part %d is there with other bytes", number), nil
	case again:
		if deadlineMillis > s.deadlineMillis { // a retry, which has more time
			s.deadlineMillis = deadlineMillis
			k.Rows.PutSystem(StagingKey(id.Session, id.Sequence), s.encode())
		}
		return nil, nil
	case !found && k.Stagings >= maxStagings:
		return api.Errorf(api.CodeOverloaded, "parts of %d batches wait already", k.Stagings), nil
	case s.bytes()+size > api.MaxBatchBytes:
		return api.Errorf(api.CodeTooLarge, "the parts of a batch are over the limit of %d bytes", api.MaxBatchBytes), nil
	case k.StagedBytes+size > maxStagedBytes:
		return api.Errorf(api.CodeOverloaded, "%d bytes of parts wait already", k.StagedBytes), nil
	}
	if !found {
		k.Stagings++
		s.id = v
	}
	k.StagedBytes += size
	s.deadlineMillis = max(s.deadlineMillis, deadlineMillis)
	s.parts = slices.Insert(s.parts, at, p)
	k.Rows.PutSystem(StagingKey(id.Session, id.Sequence), s.encode())
	k.put(s.id, number, part, v)
	return nil, nil
}

// Drop forgets what is staged for a request.
func (k *Keeper) Drop(id api.RequestID, v api.Version) error {
	s, found, err := k.staged(id)
	if found && err == nil {
		k.forget(StagingKey(id.Session, id.Sequence), &s, nil, v)
	}
	return err
}

// forget forgets a request's parts, but those that are a value's now.
func (k *Keeper) forget(key []byte, s *staging, inUse map[uint32]bool, v api.Version) {
	for _, p := range s.parts {
		if !inUse[p.number] {
			k.delete(s.id, p.number, 1, v)
		}
	}
	k.Stagings--
	k.StagedBytes -= s.bytes()
	k.Rows.DeleteSystem(key)
}

// Resolve gives the values of a batch that are in parts the id of these, or refuses the batch (LV1).
func (k *Keeper) Resolve(id api.RequestID, b *api.Batch) (*api.Error, error) {
	var s staging
	end, read := uint32(0), false
	for i := range b.Ops {
		p := b.Ops[i].Parts
		if p == nil {
			continue
		}
		if !read {
			var err error
			if s, read, err = k.staged(id); err != nil {
				return nil, err
			}
		}
		switch {
		case p.First < end:
			return errShared, nil
		case !read, !s.has(p) && !seededbug.Enabled(seededbug.ShardPublishIncomplete):
			return errMissing, nil
		}
		end = p.First + p.Count
		p.ID = s.id
	}
	return nil, nil
}

// Publish ends what is staged for a request whose batch has its answer. inUse are the parts that the
// batch has made values of.
func (k *Keeper) Publish(id api.RequestID, values []Owned, v api.Version) error {
	s, found, err := k.staged(id)
	if err != nil || !found {
		return err
	}
	inUse := make(map[uint32]bool)
	for _, o := range values {
		for n := uint32(0); n < o.Parts.Count && o.Parts.ID == s.id; n++ {
			inUse[o.Parts.First+n] = true
		}
	}
	k.forget(StagingKey(id.Session, id.Sequence), &s, inUse, v)
	return nil
}

func (k *Keeper) put(id api.Version, number uint32, part []byte, v api.Version) {
	k.key = rows.AppendPartKey(k.key[:0], id, number)
	k.Rows.PutPart(k.key, part, v)
}

// delete deletes parts as of a version: who reads at an earlier one still finds them.
func (k *Keeper) delete(id api.Version, first, count uint32, v api.Version) {
	for n := range count {
		k.key = rows.AppendPartKey(k.key[:0], id, first+n)
		k.Rows.DeletePart(k.key, v)
	}
	k.deleted += int(count)
}

// Load brings a value in one piece, and checks it. get finds the row of a part.
func Load(p *api.Parts, get func(key []byte) ([]byte, bool, error)) ([]byte, error) {
	value := make([]byte, 0, p.Bytes)
	sum := uint32(0)
	for n := range p.Count {
		part, ok, err := get(rows.AppendPartKey(make([]byte, 0, rows.PartKeyBytes), p.ID, p.First+n))
		if err != nil {
			return nil, fmt.Errorf("read a part of a value: %w", err)
		}
		if !ok || len(part) != p.PartBytes(n) {
			return nil, fmt.Errorf("part %d of a value of %d parts is not there: %w", n, p.Count, ErrMalformed)
		}
		sum = api.AddPartSum(sum, api.PartSum(part))
		value = append(value, part...)
	}
	if sum != p.Checksum {
		return nil, fmt.Errorf("the parts of a value have checksum %08x, expected %08x: %w", sum, p.Checksum, ErrMalformed)
	}
	return value, nil
}
