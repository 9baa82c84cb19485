package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

// counter adds to a key, over and over, through the client service.
type counter struct {
	key               []byte
	answered, unknown int64
}

func (c *counter) run(ctx context.Context, sdk *client.Client) {
	for ctx.Err() == nil {
		switch _, err := sdk.Increment(context.Background(), 0, c.key, 1); {
		case err == nil:
			c.answered++
		case errors.Is(err, api.ErrUnknownOutcome):
			c.unknown++
		}
	}
}

func (c *counter) check(t *testing.T, sdk *client.Client) {
	t.Helper()
	value, err := sdk.Increment(t.Context(), 0, c.key, 0)
	if err != nil || value < c.answered || value > c.answered+c.unknown || c.answered == 0 {
		t.Errorf("%s is %d (%v), %d increments were answered and %d are unknown", c.key, value, err, c.answered, c.unknown)
	}
}

// connect is a client in a pod of somebody else: it knows the client service, and the names of pods from the map.
func (k *kubelet) connect() *client.Client {
	k.t.Helper()
	secure, err := client.TLS(client.TLSOptions{CA: []byte(k.ca)})
	if err != nil {
		k.t.Fatal(err)
	}
	sdk, err := client.New(client.Options{
		Addresses: []string{k.m.client.Name + ":8379"}, Credentials: secure, Password: k.password, DefaultTimeout: 30 * time.Second,
		Dialer: func(ctx context.Context, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			if host, err = k.address(host); err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
		},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = sdk.Close() })
	return sdk
}

// awaitEven waits until so many nodes hold all shards three times, and nothing moves.
func (k *kubelet) awaitEven(nodes int) {
	k.t.Helper()
	began := time.Now()
	k.eventually(4*time.Minute, fmt.Sprintf("%d nodes that hold everything", nodes), func() error {
		out, err := k.cli("cluster", "status")
		if err != nil {
			return err
		}
		var s struct {
			Nodes []struct {
				Replicas int `json:"replicas"`
			} `json:"nodes"`
			UnderReplicated []uint64          `json:"under_replicated"`
			Silent          []uint64          `json:"silent"`
			Moving          []json.RawMessage `json:"moving"`
			Planned         []string          `json:"planned"`
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return err
		}
		total := 0
		for _, n := range s.Nodes {
			total += n.Replicas
			if n.Replicas == 0 {
				return fmt.Errorf("a node holds nothing: %s", out)
			}
		}
		if len(s.Nodes) != nodes || total != 9 || len(s.UnderReplicated)+len(s.Silent)+len(s.Moving)+len(s.Planned) > 0 {
			return fmt.Errorf("not yet: %s", out)
		}
		return nil
	})
	k.t.Logf("%d nodes hold everything after %s", nodes, time.Since(began).Round(10*time.Millisecond))
}

// order runs lightning-cli until it succeeds.
func (k *kubelet) order(args ...string) {
	k.t.Helper()
	k.eventually(2*time.Minute, strings.Join(args, " "), func() error {
		_, err := k.cli(args...)
		return err
	})
}

// TestTheLifeOfPods installs the stateful set, updates it, scales it to five pods, loses a volume, and scales it back as
// docs/operations.md says, while clients write through the service.
func TestTheLifeOfPods(t *testing.T) {
	k := newKubelet(t)
	began := time.Now()
	defer func() { t.Logf("from install to end in %s", time.Since(began).Round(time.Millisecond)) }()
	k.scale(0, 3)
	k.awaitReady(0, 1, 2)
	k.serve()
	sdk := k.connect()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	counters := make([]*counter, 4)
	for i := range counters {
		counters[i] = &counter{key: fmt.Appendf(nil, "counter-%d", i)}
		writing.Go(func() { counters[i].run(ctx, sdk) })
	}
	k.roll(3)
	k.scale(3, 5)
	k.awaitReady(3, 4)
	k.awaitEven(5)
	k.loseVolume(3)
	k.awaitEven(5)
	for _, i := range []int{4, 3} {
		k.order("node", "decommission", k.get(i).name())
	}
	k.awaitEven(3)
	k.scale(5, 3)
	k.loseMajority()
	stop()
	writing.Wait()
	for _, c := range counters {
		c.check(t, sdk)
		t.Logf("%s: %d increments, %d unknown", c.key, c.answered, c.unknown)
	}
	for _, p := range k.all() {
		if restarts, _ := p.state(); restarts > 1 || restarts > 0 && p.ordinal == 0 {
			t.Errorf("%s was restarted %d times", p.name(), restarts)
		}
	}
	k.scale(3, 0)
}

// serve looks at what clients and Prometheus get.
func (k *kubelet) serve() {
	k.t.Helper()
	first, last := k.get(0).pod, k.get(2).pod
	if got := first.redis(k.t, k.m.client.Spec.Ports[0].Port, k.ca, "GET greeting\r\n"); !strings.HasPrefix(got, "-NOAUTH") {
		k.t.Errorf("without the password: %q", got)
	}
	if got := k.ask(k.t, first, "SET greeting hello\r\n"); got != "+OK\r\n" {
		k.t.Errorf("SET: %q", got)
	}
	if got := k.ask(k.t, last, "GET greeting\r\n"); got != "$5\r\nhello\r\n" {
		k.t.Errorf("GET through another pod: %q", got)
	}
	k.checkMetricsAreServed(k.t, []*pod{first, k.get(1).pod, last})
}

// loseVolume is the loss of a machine with its disk: the pod comes back under its name with an empty volume. It does not start until
// an operator says that the old one is lost.
func (k *kubelet) loseVolume(ordinal int) {
	k.t.Helper()
	k.get(ordinal).signal(syscall.SIGKILL)
	k.remove(ordinal)
	k.box[ordinal].newVolume(k.t, k.m)
	p := k.create(ordinal)
	k.eventually(time.Minute, "the refusal of an empty volume", func() error {
		if restarts, _ := p.state(); restarts == 0 {
			return fmt.Errorf("no restart")
		}
		return nil
	})
	if p.isReady() {
		k.t.Errorf("%s is ready with an empty volume", p.name())
	}
	k.order("node", "replace", p.name())
	k.awaitReady(ordinal)
}

// loseMajority kills two of three pods and keeps them away. The third must stay alive and ready: no restart helps it, and who asks it for what
// may be stale, or repairs it, must reach it.
func (k *kubelet) loseMajority() {
	k.t.Helper()
	left := k.get(0)
	for _, i := range []int{1, 2} {
		k.get(i).signal(syscall.SIGKILL)
		k.remove(i)
	}
	_, before := left.state()
	k.eventually(2*time.Minute, "probes without a majority", func() error {
		if !left.isReady() {
			k.t.Fatalf("%s is not ready any more: %s", left.name(), left.why)
		}
		if _, now := left.state(); now < before+3 {
			return fmt.Errorf("%d probes passed", now-before)
		}
		return nil
	})
	k.create(1)
	k.create(2)
	k.awaitReady(1, 2)
}
