package membership

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// names is a Resolver whose answers change. It is safe for concurrent use.
type names struct {
	mu      sync.Mutex
	behind  map[string][]string
	lookups int
}

func (n *names) LookupHost(_ context.Context, host string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookups++
	if len(n.behind[host]) == 0 {
		return nil, errors.New("no such host")
	}
	return n.behind[host], nil
}

func (n *names) set(host string, addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.behind = map[string][]string{host: addresses}
}

func (n *names) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lookups
}

// at binds a node to a host, with the port of another one; port 0 picks one.
func at(host, port string) func(*Options) {
	return func(o *Options) { o.Bind = net.JoinHostPort(host, port) }
}

// G4: a name that leads nowhere, or to where nobody is any more, is looked up for ever, and followed to where it leads by then.
func TestANameIsFollowedWhereverItLeads(t *testing.T) {
	a, c, port := twoOfOnePort(t)
	n := &names{}
	b := startNode(t, "b", func(o *Options) { o.Join, o.Resolver = []string{"seed.test:" + port}, n })
	testkit.Eventually(t, patience, func() bool { return n.count() >= 3 }, "look-ups of a name that leads nowhere")
	n.set("seed.test", "127.0.0.9") // nobody is there
	before := n.count()
	testkit.Eventually(t, patience, func() bool { return n.count() >= before+2 }, "look-ups of a name that leads to nobody")
	if len(b.Members()) != 1 {
		t.Fatalf("b has found %v", b.Members())
	}
	n.set("seed.test", "127.0.0.9", "127.0.0.2")
	testkit.Eventually(t, patience, func() bool { return len(b.Members()) == 2 && len(a.Members()) == 2 }, "the node behind one of two addresses")

	// Everything moves: the old one is gone, and the name leads to another node elsewhere.
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, patience, func() bool { return b.Member("a").Liveness == Dead }, "the death of a")
	n.set("seed.test", "127.0.0.3")
	testkit.Eventually(t, patience, func() bool { return b.Member("c").Liveness == Alive && c.Member("b").Liveness == Alive }, "the node at the new address")
}

// twoOfOnePort starts two nodes that know nobody, at two addresses with one port: what a name leads to may change, and not the port.
func twoOfOnePort(t *testing.T) (a, c *Membership, port string) {
	t.Helper()
	for {
		a = startNode(t, "a", at("127.0.0.2", "0"))
		_, port, err := net.SplitHostPort(a.GossipAddress())
		if err != nil {
			t.Fatal(err)
		}
		o := Options{
			Info: Info{Node: "c", Name: "name-c", GRPCAddress: "127.0.0.1:1"}, Bind: net.JoinHostPort("127.0.0.3", port), Label: t.Name(),
			Logger: slog.New(slog.DiscardHandler),
		}
		var taken *ListenError
		switch c, err = Start(o); {
		case err == nil:
			t.Cleanup(func() { c.Close() })
			return a, c, port
		case !errors.As(err, &taken):
			t.Fatal(err)
		}
		a.Close() // somebody has the port at the other address
	}
}
