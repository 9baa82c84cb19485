package membership

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	// A probe of memberlist's may outlive Close by some seconds. Find itself waits for one.
	err := goleak.Find()
	for range 5 {
		if err == nil {
			break
		}
		err = goleak.Find()
	}
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// patience is for a machine that does many things at once.
const patience = 20 * time.Second

func startNode(t *testing.T, node string, change func(*Options)) *Membership {
	t.Helper()
	o := Options{
		Info:   Info{Node: api.NodeID(node), Name: "name-" + node, GRPCAddress: "127.0.0.1:1"},
		Bind:   "127.0.0.1:0",
		Label:  t.Name(),
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	m, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func joining(addresses ...string) func(*Options) {
	return func(o *Options) { o.Join = addresses }
}

// expectEvent reads events until one of kind about node comes.
func expectEvent(t *testing.T, m *Membership, kind Kind, node api.NodeID) Event {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-m.Events():
			if e.Kind == kind && e.Member.Node == node {
				return e
			}
		case <-deadline:
			t.Fatalf("no event that %s %s", node, kind)
		}
	}
}

func TestThreeNodesFindEachOther(t *testing.T) {
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a.GossipAddress()))
	c := startNode(t, "c", joining(a.GossipAddress()))
	for _, m := range []*Membership{a, b, c} {
		testkit.Eventually(t, patience, func() bool { return len(m.Members()) == 3 }, "three members")
	}
	if err := c.Update(func(i *Info) { i.Stage, i.Cluster, i.GRPCAddress = Joined, "x", "127.0.0.1:3" }); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, func() bool {
		address, _ := a.Address("c")
		return address == "127.0.0.1:3" && a.Member("c").Cluster == "x"
	}, "a hears what changed at c")
}

func TestADeathIsNoticedWithinSeconds(t *testing.T) {
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a.GossipAddress()))
	c := startNode(t, "c", joining(a.GossipAddress()))
	expectEvent(t, a, NodeJoined, "b")
	expectEvent(t, c, NodeJoined, "b")
	b.Close()
	testkit.Eventually(t, patience, func() bool { return a.Member("b").Liveness == Dead && c.Member("b").Liveness == Dead })
	expectEvent(t, a, NodeDied, "b")
	if address, ok := a.Address("b"); !ok || address != "127.0.0.1:1" {
		t.Errorf("the dead node's last address is %q", address)
	}
}

func TestLeavingIsToldAsARestart(t *testing.T) {
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a.GossipAddress()))
	expectEvent(t, a, NodeJoined, "b")
	expectEvent(t, b, NodeJoined, "a") // a node that knows nobody has nobody to tell
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if e := expectEvent(t, a, NodeLeft, "b"); !e.Member.Restarting {
		t.Errorf("%+v", e.Member)
	}
}

// TestANodeThatComesBackElsewhereIsNoConflict kills b and starts it under another port while its
// old process still counts as alive.
func TestANodeThatComesBackElsewhereIsNoConflict(t *testing.T) {
	a := startNode(t, "a", nil)
	b := startNode(t, "b", joining(a.GossipAddress()))
	expectEvent(t, a, NodeJoined, "b")
	b.Close()
	again := startNode(t, "b", func(o *Options) {
		o.Join = []string{a.GossipAddress()}
		o.Info.GRPCAddress = "127.0.0.1:2"
	})
	testkit.Eventually(t, patience, func() bool {
		address, _ := a.Address("b")
		return address == "127.0.0.1:2" && len(a.Members()) == 2 && len(again.Members()) == 2
	}, "a finds b at its new address")
	// The old process is dropped after a while; the new one must not be touched by that (G1).
	testkit.Eventually(t, patience, func() bool {
		a.view.mu.Lock()
		defer a.view.mu.Unlock()
		return len(a.view.mu.alive) == 2
	}, "the old process is dropped")
	if m := a.Member("b"); m.Liveness != Alive || m.GRPCAddress != "127.0.0.1:2" {
		t.Errorf("%+v", m)
	}
}

// TestKnownNodesAreFoundWithoutAJoinList restarts a node with nothing but what the map says.
func TestKnownNodesAreFoundWithoutAJoinList(t *testing.T) {
	a := startNode(t, "a", nil)
	b := startNode(t, "b", nil)
	b.Learn([]Known{{Node: "a", GRPCAddress: "127.0.0.1:1", GossipAddress: a.GossipAddress()}, {Node: "b"}})
	testkit.Eventually(t, patience, func() bool { return len(a.Members()) == 2 && len(b.Members()) == 2 })
}

func TestAJoinAddressThatIsDeadAtFirstIsTriedAgain(t *testing.T) {
	a := startNode(t, "a", nil)
	address := a.GossipAddress()
	a.Close()
	b := startNode(t, "b", joining(address, "name.invalid:1", "no-such-name"))
	again := startNode(t, "a", func(o *Options) { o.Bind = address })
	testkit.Eventually(t, patience, func() bool { return len(b.Members()) == 2 && len(again.Members()) == 2 })
}

func keys(bytewise ...byte) [][]byte {
	var list [][]byte
	for _, b := range bytewise {
		list = append(list, bytes.Repeat([]byte{b}, 32))
	}
	return list
}

// TestGossipKeysAreReplacedStepByStep is how docs/security.md says to do it; one node that restarts
// without the first key finds the others at the end.
func TestGossipKeysAreReplacedStepByStep(t *testing.T) {
	a := startNode(t, "a", func(o *Options) { o.Keys = keys(1) })
	b := startNode(t, "b", func(o *Options) { o.Keys, o.Join = keys(1), []string{a.GossipAddress()} })
	together := func() {
		t.Helper()
		testkit.Eventually(t, patience, func() bool { return len(a.Members()) == 2 && len(b.Members()) == 2 })
	}
	together()
	for _, step := range [][][]byte{keys(1, 2), keys(2, 1), keys(2)} {
		for _, m := range []*Membership{a, b} {
			if err := m.SetKeys(step); err != nil {
				t.Fatal(err)
			}
		}
		together()
	}
	startNode(t, "c", func(o *Options) { o.Keys, o.Join = keys(2), []string{a.GossipAddress()} })
	testkit.Eventually(t, patience, func() bool { return len(a.Members()) == 3 })
	if err := a.SetKeys(nil); err == nil {
		t.Error("no key at all is accepted")
	}
	if err := startNode(t, "plain", nil).SetKeys(keys(1)); err == nil {
		t.Error("gossip that runs in the clear says that it took a key")
	}
}

func TestKeysAreReadFromLines(t *testing.T) {
	one := base64.StdEncoding.EncodeToString(keys(1)[0])
	two := base64.StdEncoding.EncodeToString(keys(2)[0])
	got, err := ParseKeys([]byte(one + "\r\n\n " + two + "\n"))
	if err != nil || len(got) != 2 || got[0][0] != 1 || got[1][0] != 2 {
		t.Fatal(got, err)
	}
	for _, bad := range []string{"", "\n", one[1:], "c2hvcnQ=", strings.Repeat(one+"\n", maxGossipKeys+1)} {
		if _, err := ParseKeys([]byte(bad)); err == nil || strings.Contains(err.Error(), "c2hvcnQ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNodesOfAnotherLabelOrKeyStayStrangers(t *testing.T) {
	a := startNode(t, "a", func(o *Options) { o.Keys = keys(1) })
	b := startNode(t, "b", func(o *Options) {
		o.Keys, o.Join = keys(1), []string{a.GossipAddress()}
	})
	startNode(t, "c", func(o *Options) {
		o.Label, o.Keys, o.Join = "other", keys(1), []string{a.GossipAddress()}
	})
	startNode(t, "d", func(o *Options) {
		o.Keys, o.Join = keys(2), []string{a.GossipAddress()}
	})
	testkit.Eventually(t, patience, func() bool { return len(a.Members()) == 2 && len(b.Members()) == 2 })
	if a.Member("c").Liveness != Unknown || a.Member("d").Liveness != Unknown {
		t.Errorf("members %v", a.Members())
	}
}

func TestAPortInUseIsSaidByTypeAndText(t *testing.T) {
	a := startNode(t, "a", nil)
	_, err := Start(Options{
		Info: Info{Node: "b", Name: "b", GRPCAddress: "h:1"}, Bind: a.GossipAddress(), Logger: slog.New(slog.DiscardHandler),
	})
	var listen *ListenError
	if !errors.As(err, &listen) || listen.Address != a.GossipAddress() {
		t.Errorf("got %v", err)
	}
}

func TestBadOptionsAreAllReported(t *testing.T) {
	_, err := Start(Options{Bind: "example.org:1", Keys: [][]byte{[]byte("short")}, Label: string(make([]byte, 300)), Join: []string{""}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"gRPC address", "cluster name", "key", "not an IP address", "to join"} {
		if !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestCloseEndsEvents(t *testing.T) {
	a := startNode(t, "a", nil)
	a.Close()
	testkit.Eventually(t, patience, func() bool {
		_, open := <-a.Events()
		return !open
	})
	if err := errors.Join(a.Close(), a.Leave(context.Background())); err != nil {
		t.Error(err)
	}
}

func TestLogLinesKeepTheirLevel(t *testing.T) {
	var out bytes.Buffer
	l := newLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), clock.Real{})
	for _, line := range []string{"[DEBUG] memberlist: one", "[INFO] memberlist: two", "[WARN] memberlist: three", "[ERR] memberlist: four", "five"} {
		l.Print(line)
	}
	for i, want := range []string{`DEBUG msg="gossip: one"`, `INFO msg="gossip: two"`, `WARN msg="gossip: three"`, `WARN msg="gossip: four"`, `INFO msg="gossip: five"`} {
		if !bytes.Contains(bytes.Split(out.Bytes(), []byte("\n"))[i], []byte(want)) {
			t.Errorf("line %d lacks %s:\n%s", i, want, &out)
		}
	}
}
