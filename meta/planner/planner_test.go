package planner

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

var rewrite = flag.Bool("rewrite", false, "write the drawings in testdata anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed; look at it, then write it anew with -rewrite:\n%s", file, got)
	}
}

// calm is a cluster in which all steps succeed.
func calm(t testing.TB, nodes, zones, shards, replication int) *simulation {
	s := newSimulation(t, testkit.NewRand(1), nodes, zones, shards, replication)
	s.calm = true
	return s
}

// story draws a cluster, plan by plan, until nothing is planned.
func (s *simulation) story(b *strings.Builder, most int) {
	for range most {
		plan := s.round()
		for _, step := range plan.Steps {
			fmt.Fprintf(b, "  %s %s shard %d (%s): %s\n", step.Kind, step.Node, step.Shard, step.Why, step.Text)
		}
		for _, blocked := range plan.Blocked {
			fmt.Fprintf(b, "  waits (%s): %s\n", blocked.Why, blocked.Text)
		}
		if len(plan.Steps)+len(plan.Blocked) == 0 {
			break
		}
		b.WriteString("  --\n")
	}
	b.WriteString(draw(s.view))
	b.WriteByte('\n')
}

// TestPlansReadLikeThis holds whole stories of small clusters.
func TestPlansReadLikeThis(t *testing.T) {
	var b strings.Builder
	tell := func(title string, s *simulation, most int, change func()) {
		fmt.Fprintf(&b, "%s\n%s", title, draw(s.view))
		change()
		s.story(&b, most)
	}
	s := calm(t, 3, 0, 3, 3)
	tell("a fourth and a fifth node join", s, 30, func() { s.addNode(3, 0); s.addNode(4, 0) })
	tell("one node dies for good", s, 30, func() { s.view.Nodes[1].Down = 10 * time.Minute })
	s.view.Nodes[1].Down = 0
	tell("it comes back and another is decommissioned", s, 30, func() { s.node("node-04").Duty = Decommissioning })
	s = calm(t, 4, 0, 3, 3)
	tell("two of four nodes die: no shard without a majority is touched", s, 6, func() {
		s.view.Nodes[0].Down, s.view.Nodes[1].Down = 10*time.Minute, 10*time.Minute
	})
	s = calm(t, 4, 2, 3, 3)
	tell("a third zone appears", s, 30, func() { s.addNode(8, 3) })
	s = calm(t, 3, 0, 4, 3)
	tell("a node drains", s, 4, func() { s.view.Nodes[0].Duty = Draining })
	golden(t, "stories.txt", b.String())
}

// explain writes what is known of a shard.
func explain(t *testing.T, b *strings.Builder, v View, id api.ShardID) {
	t.Helper()
	e, ok := Explain(v, id)
	if !ok {
		t.Fatalf("shard %d is not explained", id)
	}
	fmt.Fprintf(b, "shard %d: %d replicas, %d in a zone\n", e.Shard, e.Want, e.ZoneLimit)
	for _, n := range e.Places {
		mark := "-"
		if n.Holds {
			mark = "+"
		}
		fmt.Fprintf(b, "  %s %s zone %s: %s; claim %d (%d); holds %d of %d to %d, load %d %%\n", mark, n.Node, n.Zone, n.Why, n.Claim, n.Score, n.Replicas, n.Least, n.Most, n.Fill/10)
	}
	fmt.Fprintf(b, "  leader: %s\n", e.LeaderWhy)
	if e.Next != nil {
		fmt.Fprintf(b, "  next: %s %s: %s\n", e.Next.Kind, e.Next.Node, e.Next.Text)
	}
	for _, text := range e.Waiting {
		fmt.Fprintf(b, "  waits: %s\n", text)
	}
}

func TestExplanationsReadLikeThis(t *testing.T) {
	s := calm(t, 6, 3, 8, 3)
	s.node("node-03").Duty = Draining
	s.node("node-05").Down = 6 * time.Minute
	s.view.Paused = true
	var b strings.Builder
	b.WriteString(draw(s.view))
	explain(t, &b, s.view, 1)
	explain(t, &b, s.view, 2)
	s.round()
	shard := &s.view.Shards[1]
	for i := range shard.Replicas {
		if r := &shard.Replicas[i]; !r.Voter {
			r.CaughtUp, r.MissingEntries, r.MissingBytes = false, 120, 5<<20
		}
	}
	explain(t, &b, s.view, 2)
	s = calm(t, 3, 0, 6, 3)
	s.addNode(3, 0)
	s.view.Nodes[3].Full = true
	s.view.Paused = true
	s.view.Shards[0].Leader, s.view.Shards[0].Preferred = "node-02", "node-00"
	s.view.Shards[1].Busy, s.view.Shards[2].Splitting = true, true
	b.WriteString(draw(s.view))
	for _, id := range []api.ShardID{1, 2, 3} {
		explain(t, &b, s.view, id)
	}
	s.view.Nodes[3].Full = false
	explain(t, &b, s.view, 5)
	golden(t, "explanations.txt", b.String())
	if _, ok := Explain(s.view, 99); ok {
		t.Error("a shard that does not exist is explained")
	}
}

// TestScaleUpAndDownEndsEven is 3 to 5 to 3 on 3 and on 64 shards.
func TestScaleUpAndDownEndsEven(t *testing.T) {
	for _, shards := range []int{3, 64} {
		s := calm(t, 3, 0, shards, 3)
		for range 2 {
			s.addNode(s.named, 0)
			s.addNode(s.named, 0)
			s.settle()
			s.checkEven()
			first, second := s.view.Nodes[0].ID, s.view.Nodes[1].ID
			s.node(first).Duty = Decommissioning
			s.node(second).Duty = Decommissioning
			s.settle()
			s.checkEven()
			if len(s.view.Nodes) != 3 {
				t.Fatalf("%d shards: nodes that hold nothing stay in the map:\n%s", shards, draw(s.view))
			}
		}
	}
}

// TestLoadEndsBalancing: whatever the loads, plans come to an end, do not make loads less even, and a
// little noise afterwards moves nothing back.
func TestLoadEndsBalancing(t *testing.T) {
	rng := testkit.Rand(t)
	for range 100 {
		s := newSimulation(t, rng, 3+rng.IntN(8), []int{0, 3}[rng.IntN(2)], 1+rng.IntN(40), 3)
		for i := range s.view.Shards {
			s.view.Shards[i].Bytes = int64(rng.ExpFloat64() * 1e9)
			s.view.Shards[i].Requests = int64(rng.ExpFloat64() * 1e4)
		}
		before := s.fullest()
		s.settle()
		if after := s.fullest(); after > before+1 {
			t.Fatalf("the fullest node went from %d to %d thousandths of its share", before, after)
		}
		was := draw(s.view)
		moves := s.steps
		for range 5 {
			for i := range s.view.Shards {
				s.view.Shards[i].Requests += int64(float64(s.view.Shards[i].Requests) * (rng.Float64() - 0.5) / 50)
			}
			s.settle()
		}
		if extra := s.steps - moves; extra > 2*len(s.view.Shards) {
			t.Fatalf("%d steps for noise of a hundredth:\n%s\n%s", extra, was, draw(s.view))
		}
	}
}

func (s *simulation) fullest() int64 {
	most := int64(0)
	for _, n := range Report(s.view).Replicas {
		most = max(most, n.Fill)
	}
	return most
}

// TestDeadNodesAreReplacedOneDomainAtATime (PN3).
func TestDeadNodesAreReplacedOneDomainAtATime(t *testing.T) {
	s := calm(t, 9, 0, 12, 3)
	s.view.Nodes[2].Down, s.view.Nodes[7].Down = 20*time.Minute, 10*time.Minute
	for range 200 {
		s.pass()
		plan := Make(s.view)
		for _, step := range plan.Steps {
			held := s.holds("node-02") && s.majority("node-02")
			if step.Kind == AddLearner && step.Replaces == "node-07" && held {
				t.Fatalf("node-07 is replaced while node-02 is not: %+v\n%s", step, draw(s.view))
			}
			s.carryOut(step)
		}
		if plan.Done() {
			break
		}
	}
	if s.holds("node-02") || s.holds("node-07") {
		t.Errorf("dead nodes are not replaced:\n%s\n%+v", draw(s.view), Make(s.view))
	}
}

func (s *simulation) holds(id api.NodeID) bool {
	return slices.ContainsFunc(s.view.Shards, func(shard Shard) bool { return s.votes(shard, id) })
}

// majority reports whether some shard with a voter on id can be changed.
func (s *simulation) majority(id api.NodeID) bool {
	return slices.ContainsFunc(s.view.Shards, func(shard Shard) bool {
		return s.votes(shard, id) && s.healthy(shard) >= quorum(voters(shard))
	})
}

// TestAMasterThatSeesNobodyReplacesNobody (PN3).
func TestAMasterThatSeesNobodyReplacesNobody(t *testing.T) {
	s := calm(t, 7, 0, 7, 3)
	for i := range 4 {
		s.view.Nodes[i].Down = time.Hour
	}
	if plan := Make(s.view); len(plan.Steps) > 0 {
		t.Errorf("four of seven nodes seem dead: %+v", plan.Steps)
	}
}

// TestAPauseStopsBalanceOnly: what is dead is still replaced.
func TestAPauseStopsBalanceOnly(t *testing.T) {
	s := calm(t, 3, 0, 6, 3)
	s.view.Paused = true
	s.addNode(3, 0)
	if plan := Make(s.view); !plan.Done() {
		t.Errorf("balance although it is paused: %+v", plan)
	}
	s.view.Nodes[0].Down = time.Hour
	s.settle()
	if s.holds("node-00") {
		t.Errorf("a dead node keeps its replicas during a pause:\n%s", draw(s.view))
	}
}
