package pledge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
)

// answersOf builds answers from short texts: "b empty", "b P1 a b c", "b cluster C a b c".
func answersOf(t *testing.T, expect int, texts ...string) map[api.NodeID]State {
	t.Helper()
	answers := map[api.NodeID]State{}
	for _, text := range texts {
		words := strings.Fields(text)
		s := State{Node: api.NodeID(words[0]), Name: "name-" + words[0], Expect: expect}
		switch {
		case words[1] == "empty":
		case words[1] == "cluster":
			s.Cluster = &Cluster{ID: words[2], Founders: nodeIDs(words[3:]), Shards: 3}
		default:
			s.Pledge = &Pledge{ClusterID: words[1], Nodes: nodeIDs(words[2:]), Shards: 3}
		}
		answers[s.Node] = s
	}
	return answers
}

func show(v verdict) string {
	switch {
	case v.form:
		return "form"
	case v.join != nil:
		return "join " + v.join.ID
	case v.take != nil:
		return "take " + v.take.ClusterID
	case v.propose != nil:
		return "propose " + list(v.propose)
	case v.lost != nil:
		return "lost " + v.lost.ID
	case v.blocked:
		return "blocked: " + v.reason
	}
	return "wait: " + v.reason
}

func TestAPledgedNodeConcludes(t *testing.T) {
	p := Pledge{ClusterID: "P", Nodes: []api.NodeID{"a", "b", "c"}, Shards: 3}
	for _, c := range []struct {
		answers []string
		want    string // a prefix
	}{
		{[]string{"b P a b c", "c P a b c"}, "form"},
		{[]string{"b P a b c"}, "wait: pledged to form cluster P with 3 nodes, no answer from c"},
		{[]string{"b P a b c", "c empty"}, "wait: pledged to form cluster P with 3 nodes, c did not pledge"},
		{[]string{"b cluster P a b c"}, "form"},
		{[]string{"b cluster P a b c", "c cluster Q c d e"}, "form"},
		{[]string{"b P a b c", "c Q c d e"}, "blocked: node c (name-c) has pledged"},
		{[]string{"b P a b c", "c Q a b c"}, "blocked: node c (name-c) has pledged"},
		{[]string{"c cluster Q c d e"}, "join Q"},
		{[]string{"c cluster Q a c d"}, "lost Q"},
		{nil, "wait: pledged to form cluster P with 3 nodes, no answer from b, c"},
	} {
		if got := show(judgePledged("a", p, answersOf(t, 3, c.answers...))); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.answers, got, c.want)
		}
	}
	if got := show(judgePledged("a", Pledge{ClusterID: "P", Nodes: []api.NodeID{"a"}}, nil)); got != "form" {
		t.Errorf("alone: %s", got)
	}
}

func TestAnEmptyNodeConcludes(t *testing.T) {
	for _, c := range []struct {
		expect  int
		seen    string // nodes that expect as many
		answers []string
		want    string
	}{
		{3, "a b c", []string{"b empty", "c empty"}, "propose a, b, c"},
		{3, "b c", []string{"b empty", "c empty"}, "propose a, b, c"},
		{3, "a b", []string{"b empty"}, "wait: 2 of 3 nodes seen"},
		{3, "a b c", []string{"b empty"}, "wait: 3 of 3 nodes seen, no answer from c"},
		{3, "a b c d", []string{"b empty", "c empty", "d empty"}, "blocked: 4 nodes are there and each expects a cluster of exactly 3"},
		{2, "A a", []string{"A empty"}, "wait: 2 of 2 nodes seen, waiting for node A to propose"},
		{3, "a b c", []string{"b P a b c", "c empty"}, "take P"},
		{3, "a b", []string{"b P a b c"}, "take P"},
		{3, "a b c d", []string{"b P a b c"}, "take P"},
		{2, "a b", []string{"b P a b c"}, "blocked: node b (name-b) wants to form a cluster of 3"},
		{3, "a b c", []string{"b P b c d", "c P b c d"}, "blocked: node b (name-b) has pledged to form a cluster with other nodes"},
		{3, "a b c", []string{"b cluster C b c d"}, "join C"},
		{0, "", []string{"b cluster C b c d"}, "join C"},
		{0, "", []string{"b empty", "c P a c"}, "wait: looking for a member"},
		{3, "a b", []string{"b cluster C b c d", "e cluster D e f g"}, "blocked: members of two clusters"},
		{3, "a b", []string{"b cluster C a b c"}, "lost C"},
	} {
		var seen []Seen
		for _, node := range strings.Fields(c.seen) {
			seen = append(seen, Seen{Node: api.NodeID(node), Expect: c.expect})
		}
		seen = append(seen, Seen{Node: "other", Expect: c.expect + 7}, Seen{Node: "member", Expect: c.expect, Joined: true})
		if got := show(judgeEmpty("a", c.expect, seen, answersOf(t, c.expect, c.answers...))); !strings.HasPrefix(got, c.want) {
			t.Errorf("expect %d, seen %q, %q: got %q, want %q", c.expect, c.seen, c.answers, got, c.want)
		}
	}
}

func TestANodeThatExpectsAnotherNumberIsNotProposedTo(t *testing.T) {
	answers := answersOf(t, 3, "b empty", "c empty")
	other := answers["c"]
	other.Expect = 5 // gossip has not caught up
	answers["c"] = other
	seen := []Seen{{Node: "b", Expect: 3}, {Node: "c", Expect: 3}}
	if got := show(judgeEmpty("a", 3, seen, answers)); !strings.HasPrefix(got, "wait: node c (name-c) expects 5") {
		t.Error(got)
	}
}

func TestMembersAreAskedInTurn(t *testing.T) {
	f := &former{}
	var seen []Seen
	for i := range 5 {
		seen = append(seen, Seen{Node: api.NodeID(fmt.Sprint(i)), Joined: true})
	}
	asked := map[api.NodeID]bool{}
	for range 5 {
		nodes := f.whom(State{Node: "x"}, seen)
		if len(nodes) != maxAskedMembers {
			t.Fatalf("asked %v", nodes)
		}
		for _, n := range nodes {
			asked[n] = true
		}
	}
	if len(asked) != 5 {
		t.Errorf("asked only %v", asked)
	}
}
