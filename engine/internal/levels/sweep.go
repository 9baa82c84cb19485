package levels

// ReasonDropped is that of a compaction of tables that may have rows of a dropped family.
const ReasonDropped = "dropped"

// PickWanted rewrites a table that somebody wants to be rewritten, if one can be beside the compactions that run: where it is,
// or all of level 0 with what is below.
func (s *Set) PickWanted(wanted func(*Table) bool, beside []*Pick) *Pick {
	r := running(beside)
	for level, tables := range s.Levels {
		for _, t := range tables {
			if !wanted(t) {
				continue
			}
			p := &Pick{Reason: ReasonDropped, Level: level, Output: level, Inputs: []*Table{t}}
			if level == 0 {
				p = s.pickZero(ReasonDropped)
			}
			if p = r.free(p); p != nil {
				return p
			}
		}
	}
	return nil
}
