package recovery

import (
	"fmt"
	"strings"
)

// Text is what an operator has to know of a plan before it is applied.
func (p *Plan) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("plan %s: cluster %s goes on as %s", p.ID, p.OldCluster, p.NewCluster)
	for _, n := range p.Nodes {
		line("node %s (%s) stays", n.Name, n.ID)
	}
	for _, n := range p.Lost {
		line("node %s (%s) is lost: it never comes back, under this id, to this cluster", n.Name, n.ID)
	}
	lossless := true
	for i := range p.Groups {
		g := &p.Groups[i]
		lossless = lossless && g.Lossless()
		line("%s", p.groupText(g))
		for _, note := range g.Notes {
			line("  %s", note)
		}
	}
	if lossless {
		line("nothing that was acknowledged is lost")
	} else {
		line("LOSS: what is named above is lost for good once the plan is applied")
	}
	return b.String()
}

func (p *Plan) groupText(g *Group) string {
	text := fmt.Sprintf("%s: %d of %d voters left, ", groupName(g.Group), g.Left, g.Voters)
	name := p.nodeName(g.Node)
	switch {
	case g.Lossless():
		return text + fmt.Sprintf("a majority; it goes on from node %s at entry %d of term %d; nothing is lost", name, g.Last, g.LastTerm)
	case g.From != 0 && g.Group == 0:
		return text + fmt.Sprintf("no majority; it goes on from node %s at entry %d of term %d; changes of the cluster map after that may be LOST", name, g.Last, g.LastTerm)
	case g.From != 0:
		return text + fmt.Sprintf("no majority; it goes on from node %s at entry %d of term %d; writes after that which the lost nodes acknowledged are LOST", name, g.Last, g.LastTerm)
	case g.Group == 0:
		return text + fmt.Sprintf("it goes on from node %s; changes of the cluster map may be LOST", name)
	}
	return text + fmt.Sprintf("it begins EMPTY on node %s; everything that it held is LOST", name)
}

func (p *Plan) nodeName(id string) string {
	for _, n := range p.Nodes {
		if n.ID == id && n.Name != "" {
			return n.Name
		}
	}
	return id
}
