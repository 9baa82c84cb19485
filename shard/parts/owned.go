package parts

import (
	"encoding/binary"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Owned is a value in parts that some key has, and until when; 0 is for ever.
type Owned struct {
	Parts        *api.Parts
	ExpiryMillis uint64
}

// name names a value in parts.
type name struct {
	id    api.Version
	first uint32
}

func (o *Owned) name() name { return name{o.Parts.ID, o.Parts.First} }

// Ownership is which values in parts the keys have that a command writes, before it and after it (LV2).
// A key that has expired before has none: its parts are due.
type Ownership struct {
	Before, After []Owned
	made          uint32 // number of the next part that the command makes
}

// Split makes parts of a value that a command has made.
func (k *Keeper) Split(o *Ownership, value []byte, v api.Version) *api.Parts {
	p := api.PartsOf(value, o.made)
	p.ID = v
	o.made += p.Count
	for n := range p.Count {
		k.put(p.ID, p.First+n, api.Part(value, n), v)
	}
	return p
}

// PassOn does what follows from who has which value now: what no key has any more is deleted (LV3),
// what a key has until some time is due then.
func (k *Keeper) PassOn(o *Ownership, v api.Version) {
	if len(o.Before)+len(o.After) == 0 {
		return
	}
	kept := make(map[name]uint64, len(o.After)) // and until when
	for i := range o.After {
		kept[o.After[i].name()] = o.After[i].ExpiryMillis
	}
	had := make(map[name]bool, len(o.Before))
	for i := range o.Before {
		b := &o.Before[i]
		had[b.name()] = true
		until, is := kept[b.name()]
		if is && until == b.ExpiryMillis {
			continue
		}
		if b.ExpiryMillis != 0 {
			k.Rows.DeleteSystem(dueKey(b.ExpiryMillis, b.Parts.ID, b.Parts.First))
			k.Due--
		}
		switch {
		case is:
			k.putDue(b.Parts, until)
		case seededbug.Enabled(seededbug.ShardLeakParts):
		case k.deleted+int(b.Parts.Count) > maxDeleted:
			k.putDue(b.Parts, v.Millis())
		default:
			k.delete(b.Parts.ID, b.Parts.First, b.Parts.Count, v)
			k.Values--
		}
	}
	for i := range o.After {
		if a := &o.After[i]; !had[a.name()] {
			k.Values++
			k.putDue(a.Parts, a.ExpiryMillis)
		}
	}
}

// putDue notes when parts are to be deleted; 0 is never.
func (k *Keeper) putDue(p *api.Parts, millis uint64) {
	if millis == 0 {
		return
	}
	k.Rows.PutSystem(dueKey(millis, p.ID, p.First), binary.BigEndian.AppendUint32(nil, p.Count))
	k.Due++
}

// SweepDue deletes the parts of which a row says that they are due. more is false when the entry has
// deleted enough.
func (k *Keeper) SweepDue(key, row []byte, v api.Version) (more bool, err error) {
	if len(key) != dueKeyBytes || key[0] != prefixSystem || key[1] != systemDue || len(row) != 4 {
		return false, fmt.Errorf("what is due: %w", ErrMalformed)
	}
	count := binary.BigEndian.Uint32(row)
	if count > api.PartCount(api.MaxValueBytes) {
		return false, fmt.Errorf("%d parts are due: %w", count, ErrMalformed)
	}
	k.delete(api.Version(binary.BigEndian.Uint64(key[10:])), binary.BigEndian.Uint32(key[18:]), count, v)
	k.Rows.DeleteSystem(append([]byte(nil), key...))
	k.Due--
	k.Values--
	return k.deleted < maxDeleted, nil
}

// SweepStaged drops what a row says is staged if its deadline has passed, or if its request was released.
func (k *Keeper) SweepStaged(key, row []byte, released bool, v api.Version) (more bool, err error) {
	s, err := decodeStaging(row)
	if err != nil {
		return false, err
	}
	if released || v.Millis() > s.deadlineMillis && !seededbug.Enabled(seededbug.ShardKeepStaged) {
		k.forget(append([]byte(nil), key...), &s, nil, v)
	}
	return k.deleted < maxDeleted, nil
}
