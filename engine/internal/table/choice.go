package table

const (
	// aloneFrom: a value of this part of a block stands apart whatever it is, as a block has at most as many of them.
	aloneFrom = 2

	// choiceEvery is how many times the bytes of a sample go by until the next one is taken, so that it costs a tenth of what compression does.
	choiceEvery = 16
)

// apartChoice decides which values stand apart from their keys. A value of its own frame is read alone, but it is also compressed
// alone, and documents that are alike need much more room then. So a sample of values is compressed in both ways now and then; values stay
// with their keys where that saves an eighth.
type apartChoice struct {
	from, always int // lengths; from is 0 for never
	mode         Compression
	yes          bool // what the last sample said
	left         int  // bytes until the next sample is taken
	room         int  // bytes of a sample
	sample       []byte
	alone        int // what the values of the sample take, each compressed by itself
	buffer       []byte
}

func newApartChoice(o Options) apartChoice {
	return apartChoice{from: o.ApartBytes, always: max(o.ApartBytes, o.BlockBytes/aloneFrom), mode: o.Compression, yes: true, room: o.BlockBytes}
}

// apart decides for one value.
func (a *apartChoice) apart(value []byte) bool {
	switch {
	case a.from <= 0 || len(value) < a.from:
		return false
	case len(value) >= a.always || a.mode == None:
		return true
	}
	if a.left -= len(value); a.left < 0 {
		a.take(value)
	}
	return a.yes
}

// take adds a value to the sample, and decides when that is as large as a block.
func (a *apartChoice) take(value []byte) {
	a.sample = append(a.sample, value...)
	a.alone += a.packed(value)
	if len(a.sample) < a.room {
		return
	}
	a.yes = !worth(a.packed(a.sample), a.alone)
	a.left, a.sample, a.alone = choiceEvery*len(a.sample), a.sample[:0], 0
}

// packed is what bytes take in a file.
func (a *apartChoice) packed(raw []byte) int {
	if a.mode == S2 {
		a.buffer = appendS2(a.buffer[:0], raw)
	} else {
		a.buffer = appendZstd(a.buffer[:0], raw)
	}
	if !worth(len(a.buffer), len(raw)) {
		return len(raw)
	}
	return len(a.buffer)
}
