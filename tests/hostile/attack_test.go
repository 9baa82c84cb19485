package hostile

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// say prints a result at once, also when the test passes: these lines are the evidence of a run.
func say(t *testing.T, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "    %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
}

// attack is one way to be hostile to a node.
type attack struct {
	name string
	// boundMiB is how much the node's resident memory may grow, and why so much.
	boundMiB int
	why      string
	run      func(a *attacker)
}

// attacker is one run of an attack: where it goes, and what it opened.
type attacker struct {
	t        *testing.T
	node     *cluster.Node
	password string

	// mu is a leaf.
	mu struct {
		sync.Mutex
		conns []net.Conn
	}
}

// dial opens a connection that stays until the attack is over.
func (a *attacker) dial(address string) net.Conn {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		a.t.Errorf("connect to %s: %v", address, err)
		return nil
	}
	a.keep(conn)
	return conn
}

// keep closes conn when the attack is over.
func (a *attacker) keep(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.conns = append(a.mu.conns, conn)
}

// each runs f count times at once and waits.
func (a *attacker) each(count int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// many opens count connections to address and runs f on each, all at once, and waits.
func (a *attacker) many(count int, address string, f func(i int, conn net.Conn)) {
	var wg sync.WaitGroup
	for i := range count {
		if conn := a.dial(address); conn != nil {
			wg.Go(func() { f(i, conn) })
		}
	}
	wg.Wait()
}

func (a *attacker) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.mu.conns {
		_ = c.Close()
	}
}

// wait lets time pass with everything that the attack has opened in place.
func (a *attacker) wait(d time.Duration) { cluster.Wait(a.t.Context(), d) }

// leastTime gives the honest client beside a short attack enough answers for a p99.
const leastTime = 1500 * time.Millisecond

// withstand runs attacks against one node, one after the other.
func withstand(t *testing.T, n *cluster.Node, password string, attacks []attack) {
	measure(t, "nothing", n.RESP, password, func() { cluster.Wait(t.Context(), 2*time.Second) })
	pid, start, peakOfAll := n.PID(), residentMiB(t, n), watchMemory(t, n)
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			a := &attacker{t: t, node: n, password: password}
			defer a.close()
			before := residentMiB(t, n)
			peak := watchMemory(t, n)
			began := time.Now()
			measure(t, attack.name, n.RESP, password, func() {
				attack.run(a)
				a.wait(leastTime - time.Since(began))
			})
			took := time.Since(began)
			grew := peak() - before
			say(t, "%d connections in %.1f s; memory of the node %d MiB, at most %d MiB more; bound %d MiB: %s",
				len(a.mu.conns), took.Seconds(), before, grew, attack.boundMiB, attack.why)
			if grew > attack.boundMiB {
				t.Errorf("the node's memory grew by %d MiB, bound %d MiB", grew, attack.boundMiB)
			}
			if n.PID() != pid {
				t.Fatalf("the node ended:\n%s", n.LogTail(3000))
			}
		})
	}
	// What one attack leaves to the collector must not hide what the next one takes.
	grew := peakOfAll() - start
	say(t, "memory of the node: %d MiB before all attacks, at most %d MiB more; bound %d MiB", start, grew, boundOfAllMiB)
	if grew > boundOfAllMiB {
		t.Errorf("the node's memory grew by %d MiB over all attacks, bound %d MiB", grew, boundOfAllMiB)
	}
}

// boundOfAllMiB is the largest bound of one attack.
const boundOfAllMiB = 1000

// watchMemory notes the peak of the node's resident memory until the function it returns is called.
func watchMemory(t *testing.T, n *cluster.Node) (peak func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	var highest atomic.Int64
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			highest.Store(max(highest.Load(), int64(residentMiB(t, n))))
			cluster.Wait(ctx, 20*time.Millisecond)
		}
	})
	return func() int {
		cancel()
		done.Wait()
		return int(highest.Load())
	}
}

func residentMiB(t *testing.T, n *cluster.Node) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		t.Errorf("memory of %s: %v", n.Name, err)
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Errorf("memory of %s: %v", n.Name, err)
	}
	return kib >> 10
}

// descriptors is how many connections this process, and so the node it starts, may open at once:
// Go raises its own limit to the hard one, which children inherit.
func descriptors(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	const ownFiles = 500 // of the node's tables, logs and peers
	return int(min(limit.Max, 1<<20)) - ownFiles
}
