package planner

import (
	"fmt"
	"slices"
	"strings"
)

// draw shows which node holds which shard: L leads, + votes, l learns, x votes on a dead node.
func draw(v View) string {
	var b strings.Builder
	for _, n := range v.Nodes {
		fmt.Fprintf(&b, "%s %-2s ", n.ID, n.Zone)
		for _, s := range v.Shards {
			at := slices.IndexFunc(s.Replicas, func(r Replica) bool { return r.Node == n.ID })
			switch {
			case at < 0:
				b.WriteByte('.')
			case !s.Replicas[at].Voter:
				b.WriteByte('l')
			case n.Down > 0:
				b.WriteByte('x')
			case s.Leader == n.ID:
				b.WriteByte('L')
			default:
				b.WriteByte('+')
			}
		}
		if n.Duty != Serving {
			b.WriteString("  " + n.Duty.String())
		}
		b.WriteByte('\n')
	}
	return b.String()
}
