package rowcache

// ghosts are fingerprints of the rows that probation dropped: none while there is room for all. The place of one is a part of itself, so
// a later one may take it, and as many as there are places is about how far back they reach.
type ghosts struct {
	places   []uint32
	count    int    // of places that are taken
	returned uint64 // rows that came again while their fingerprint was there
}

// fingerprint is never zero.
func fingerprint(hash uint64) uint32 { return uint32(hash>>32) | 1 }

// at picks the place of a fingerprint, by bits of the hash that a row's header has.
func (g *ghosts) at(print uint32) *uint32 { return &g.places[print>>1&uint32(len(g.places)-1)] }

// fit makes so many places, a power of two, and keeps what was noted.
func (g *ghosts) fit(places int) {
	if places == len(g.places) {
		return
	}
	old := g.places
	g.places, g.count = make([]uint32, places), 0
	for _, print := range old {
		if print != 0 {
			g.note(print)
		}
	}
}

func (g *ghosts) note(print uint32) {
	at := g.at(print)
	if *at == 0 {
		g.count++
	}
	*at = print
}

// remember notes that a row was dropped from probation.
func (s *shard) remember(hash uint64) {
	s.ghosts.fit(ghostsPerBucket * len(s.table.Load().buckets))
	s.ghosts.note(fingerprint(hash))
}

// returns tells whether a row was dropped from probation not long ago.
func (s *shard) returns(hash uint64) bool {
	print := fingerprint(hash)
	if s.ghosts.places == nil || *s.ghosts.at(print) != print {
		return false
	}
	s.ghosts.returned++
	return true
}
