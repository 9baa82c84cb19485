package table

import "github.com/lightning-db/lightning/engine/internal/record"

// apartBytes is about what a row takes in its block because its value stands apart.
const apartBytes = 3

// apartRow is a row of a block whose value has a frame of its own.
type apartRow struct {
	row int
	end uint64 // of the frame, behind the start of the first one that belongs to the block
	raw uint64 // length of the value
}

// addApart adds a row without its value, the frame of which ends so many bytes behind the start of the first one.
func (b *blockBuilder) addApart(r *record.Row, end uint64) {
	b.aparts = append(b.aparts, apartRow{b.rows(), end, uint64(len(r.Value))})
	bare := *r
	bare.Value = nil
	b.add(&bare)
}

// layAparts adds the columns of values that stand apart, if there are any.
func (b *blockBuilder) layAparts(w *columnWriter) {
	if len(b.aparts) == 0 {
		return
	}
	starts, lengths := make([]uint64, 1, b.rows()+1), make([]uint64, 0, b.rows())
	end, next := uint64(0), 0
	for i := range b.rows() {
		length := uint64(0)
		if next < len(b.aparts) && b.aparts[next].row == i {
			end, length = b.aparts[next].end, b.aparts[next].raw
			next++
		}
		starts, lengths = append(starts, end), append(lengths, length)
	}
	w.add(starts)
	w.add(lengths)
}

// aparts are the values of a block that are not in it: their frames lie before that of the block, one after the other, in the order of its
// rows. The zero value has none.
type aparts struct {
	any    bool
	starts column // of the frames, and the end of the last one; a row whose value is in the block has an empty one
	raws   column // lengths of the values, zero for those in the block
}

func (a *aparts) parse(r *columnReader, count int) (ok bool) {
	a.any = true
	if a.starts, ok = r.next(count + 1); ok {
		a.raws, ok = r.next(count)
	}
	return ok
}

// bytes is the length of all frames.
func (a *aparts) bytes(b *block) uint64 {
	if !a.any {
		return 0
	}
	return a.starts.get(b.data, b.count)
}

// checkAparts makes sure that the frames follow each other, and that each is of a row that may have one (B5).
func (b *block) checkAparts() bool {
	a := &b.far
	if !a.any {
		return true
	}
	before := uint64(0)
	if a.starts.get(b.data, 0) != 0 {
		return false
	}
	for i := range b.count {
		next, raw := a.starts.get(b.data, i+1), a.raws.get(b.data, i)
		if next < before || (next == before) != (raw == 0) {
			return false
		}
		if raw > 0 && (next-before <= frameBytes || next-before-frameBytes > maxBlockBytes || raw > maxBlockBytes ||
			len(b.value(i)) > 0 || record.Kind(b.kind.get(b.data, i)) != record.Put) {
			return false
		}
		before = next
	}
	return true
}

// at gives the place of the value of a row, in frames that begin at an offset; zero if the value is in the block.
func (a *aparts) at(b *block, i int, start uint64) (h handle) {
	raw := a.raws.get(b.data, i)
	if raw == 0 {
		return h
	}
	from, end := a.starts.get(b.data, i), a.starts.get(b.data, i+1)
	return handle{offset: start + from, stored: uint32(end - from - frameBytes), raw: uint32(raw)}
}

func farOf(h handle, from record.Source) record.Far {
	return record.Far{From: from, Offset: h.offset, Stored: h.stored, Raw: h.raw}
}

func handleOf(f *record.Far) handle { return handle{offset: f.Offset, stored: f.Stored, raw: f.Raw} }
