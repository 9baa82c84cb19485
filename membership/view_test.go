package membership

import (
	"fmt"
	"net"
	"testing"

	"github.com/hashicorp/memberlist"

	"github.com/lightning-db/lightning/api"
)

func process(t *testing.T, name string, boot uint64, i Info) *memberlist.Node {
	t.Helper()
	b, err := encodeInfo(i, boot)
	if err != nil {
		t.Fatal(err)
	}
	return &memberlist.Node{Name: name, Addr: net.IPv4(127, 0, 0, 1), Port: 1, Meta: b}
}

func TestTheNewestProcessOfANodeIsShown(t *testing.T) {
	v := newView()
	v.NotifyJoin(process(t, "a.2", 2, Info{Node: "a", GRPCAddress: "h:2"}))
	v.NotifyJoin(process(t, "a.1", 1, Info{Node: "a", GRPCAddress: "h:1"}))
	if address, _ := v.address("a"); address != "h:2" || len(v.members()) != 1 {
		t.Fatalf("address %s, members %v (G2)", address, v.members())
	}
	v.NotifyLeave(&memberlist.Node{Name: "a.1"})
	if m := v.member("a"); m.Liveness != Alive || m.GRPCAddress != "h:2" {
		t.Fatalf("the death of the old process touched the new one (G1): %+v", m)
	}
	v.NotifyLeave(&memberlist.Node{Name: "a.2"})
	if m := v.member("a"); m.Liveness != Dead {
		t.Fatalf("%+v", m)
	}
	if address, _ := v.address("a"); address != "h:2" {
		t.Fatalf("a dead node's last address is lost: %q", address)
	}
}

func TestAProcessThatSaidItRestartsGivesWay(t *testing.T) {
	v := newView()
	v.NotifyJoin(process(t, "a.old", 9, Info{Node: "a", GRPCAddress: "h:old"}))
	v.NotifyUpdate(process(t, "a.old", 9, Info{Node: "a", GRPCAddress: "h:old", Restarting: true}))
	v.NotifyJoin(process(t, "a.new", 5, Info{Node: "a", GRPCAddress: "h:new"})) // its clock went back
	if address, _ := v.address("a"); address != "h:new" {
		t.Fatalf("address %s", address)
	}
	v.NotifyLeave(&memberlist.Node{Name: "a.new"})
	v.NotifyLeave(&memberlist.Node{Name: "a.old"})
	if m := v.member("a"); m.Liveness != Left {
		t.Fatalf("%+v", m)
	}
}

func TestKnownAddressesServeUntilGossipKnowsBetter(t *testing.T) {
	v := newView()
	if _, ok := v.address("a"); ok || v.member("a").Liveness != Unknown {
		t.Fatal("an unknown node has an address")
	}
	v.learn([]Known{{Node: "a", GRPCAddress: "h:1", GossipAddress: "h:2"}})
	if address, _ := v.address("a"); address != "h:1" {
		t.Fatalf("address %q", address)
	}
	if missing, known := v.missing(); fmt.Sprint(missing, known) != "[h:2] 1" {
		t.Fatalf("missing %v of %d (G4)", missing, known)
	}
	v.NotifyJoin(process(t, "a.1", 1, Info{Node: "a", GRPCAddress: "h:3"}))
	if address, _ := v.address("a"); address != "h:3" {
		t.Fatalf("address %q", address)
	}
	if missing, _ := v.missing(); len(missing) > 0 {
		t.Fatalf("missing %v", missing)
	}
}

func TestNodesThatAreGoneAreForgottenBeyondABound(t *testing.T) {
	v := newView()
	for i := range maxGone + 10 {
		name := fmt.Sprintf("n%d", i)
		v.NotifyJoin(process(t, name, 1, Info{Node: api.NodeID(name)}))
		v.NotifyLeave(&memberlist.Node{Name: name})
	}
	if len(v.mu.gone) != maxGone || len(v.mu.order) != maxGone || v.member("n0").Liveness != Unknown {
		t.Fatalf("%d, %d gone", len(v.mu.gone), len(v.mu.order))
	}
}

func TestDescriptionsThatAreNotOursAreIgnored(t *testing.T) {
	v := newView()
	v.NotifyJoin(&memberlist.Node{Name: "x", Meta: []byte("hello")})
	v.NotifyLeave(&memberlist.Node{Name: "x"})
	if len(v.all()) != 0 {
		t.Fatalf("%v", v.all())
	}
}

func TestEventsAreTheDifferenceToWhatWasTold(t *testing.T) {
	alive := Member{Info: Info{Node: "a"}, Boot: 1, Liveness: Alive}
	renamed := alive
	renamed.Name = "new"
	restarted := alive
	restarted.Boot = 2
	dead, left := alive, alive
	dead.Liveness, left.Liveness = Dead, Left
	none := Member{}
	for _, c := range []struct {
		name        string
		before, now Member
		want        Kind
	}{
		{"first seen", none, alive, NodeJoined},
		{"nothing", alive, alive, ""},
		{"other name", alive, renamed, NodeUpdated},
		{"other process", alive, restarted, NodeRestarted},
		{"death", alive, dead, NodeDied},
		{"leaving", alive, left, NodeLeft},
		{"return", dead, alive, NodeJoined},
		{"died after it left", left, dead, ""},
		{"dead before it was seen alive", none, dead, NodeDied},
	} {
		told, now := map[api.NodeID]Member{}, map[api.NodeID]Member{"a": c.now}
		if c.before != none {
			told["a"] = c.before
		}
		events := differences(told, now)
		if c.want == "" && len(events) == 0 {
			continue
		}
		if len(events) != 1 || events[0].Kind != c.want || events[0].Member != c.now {
			t.Errorf("%s: %v", c.name, events)
		}
	}
	told := map[api.NodeID]Member{"a": dead}
	if events := differences(told, nil); len(events) != 0 || len(told) != 0 {
		t.Errorf("a forgotten node: %v, %v", events, told)
	}
}
