package cluster

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// namePrefix marks every namespace and interface of these tests; the process id of the test follows,
// so that what a killed test left can be told from what is in use (P3). Interface names have at
// most 15 letters.
const namePrefix = "ldb"

// network is one bridge and one namespace per node.
type network struct {
	t      testing.TB
	id     string // namePrefix, process id
	subnet string // the first three numbers of the addresses
	nodes  int
}

// CanNetns reports why namespaces cannot be used here, nil when they can.
func CanNetns() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("network namespaces need root")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	return run("", "ip", "netns", "list")
}

// RequireNetns skips the test when namespaces cannot be used, unless LIGHTNING_REQUIRE_NETNS=1: then that
// is a failure, so that a build server cannot lose these tests unnoticed.
func RequireNetns(t testing.TB) {
	t.Helper()
	err := CanNetns()
	switch {
	case err == nil:
	case os.Getenv("LIGHTNING_REQUIRE_NETNS") == "1":
		t.Fatalf("LIGHTNING_REQUIRE_NETNS=1, but %v", err)
	default:
		t.Skipf("skipped: %v (LIGHTNING_REQUIRE_NETNS=1 makes this a failure)", err)
	}
}

var networks struct {
	sync.Mutex
	count int // networks that this process has made
}

func newNetwork(t testing.TB, nodes int) *network {
	t.Helper()
	RequireNetns(t)
	networks.Lock() // until the bridge has its address, which marks the subnet as taken
	defer networks.Unlock()
	removeStale(t)
	networks.count++
	w := &network{t: t, id: fmt.Sprintf("%s%dn%d", namePrefix, os.Getpid(), networks.count), nodes: nodes, subnet: freeSubnet(t)}
	script := []string{
		"ip link add %b type bridge forward_delay 0",
		"ip addr add %s.254/24 dev %b",
		"ip link set %b up",
	}
	for i := range nodes {
		script = append(script,
			fmt.Sprintf("ip netns add %%b-%d", i),
			fmt.Sprintf("ip link add %%bv%d type veth peer name eth0 netns %%b-%d", i, i),
			fmt.Sprintf("ip link set %%bv%d master %%b up", i),
			fmt.Sprintf("ip -n %%b-%d addr add %%s.%d/24 dev eth0", i, i+1),
			fmt.Sprintf("ip -n %%b-%d link set eth0 up", i),
			fmt.Sprintf("ip -n %%b-%d link set lo up", i))
	}
	t.Cleanup(w.remove)
	for _, line := range script {
		line = strings.NewReplacer("%b", w.id, "%s", w.subnet).Replace(line)
		if err := run("", strings.Fields(line)...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range nodes {
		w.nft(i, tableRules)
	}
	return w
}

// freeSubnet is the first three numbers of 256 addresses that no interface here has.
func freeSubnet(t testing.TB) string {
	t.Helper()
	taken, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for k := range 50 * 256 {
		k += os.Getpid() // tests that run at the same time begin at different places
		subnet := fmt.Sprintf("10.%d.%d", 200+k/256%50, k%256)
		if !slices.ContainsFunc(taken, func(a net.Addr) bool { return strings.HasPrefix(a.String(), subnet+".") }) {
			return subnet
		}
	}
	t.Fatal("no free subnet")
	return ""
}

// tableRules makes an empty set of sources to drop. Cuts change only the set, which is atomic.
const tableRules = `
table ip cut {
	set sources { type ipv4_addr; }
	chain in {
		type filter hook input priority 0; policy accept;
		ip saddr @sources drop
	}
}
`

func (w *network) namespace(i int) string { return fmt.Sprintf("%s-%d", w.id, i) }
func (w *network) address(i int) string   { return fmt.Sprintf("%s.%d", w.subnet, i+1) }

func (w *network) nft(i int, rules string) {
	w.t.Helper()
	if err := run(rules, "ip", "netns", "exec", w.namespace(i), "nft", "-f", "-"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *network) remove() {
	for i := range w.nodes {
		_ = run("", "ip", "netns", "del", w.namespace(i))
	}
	_ = run("", "ip", "link", "del", w.id)
}

// removeStale removes what tests that no longer run have left.
func removeStale(t testing.TB) {
	spaces, _ := os.ReadDir("/run/netns")
	for _, s := range spaces {
		if gone(strings.SplitN(s.Name(), "-", 2)[0]) {
			t.Logf("removing stale namespace %s", s.Name())
			_ = run("", "ip", "netns", "del", s.Name())
		}
	}
	links, _ := os.ReadDir("/sys/class/net")
	for _, l := range links {
		if gone(l.Name()) {
			t.Logf("removing stale interface %s", l.Name())
			_ = run("", "ip", "link", "del", l.Name())
		}
	}
}

// gone reports whether name is one of ours and its test has ended.
func gone(name string) bool {
	rest, ours := strings.CutPrefix(name, namePrefix)
	digits, _, _ := strings.Cut(rest, "n")
	pid, err := strconv.Atoi(digits)
	return ours && err == nil && syscall.Kill(pid, 0) == syscall.ESRCH
}

func run(stdin string, command ...string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
	}
	return nil
}

// CutOneWay drops everything that goes from one node to another; what comes back still arrives.
func (c *Cluster) CutOneWay(from, to *Node) {
	c.t.Helper()
	c.network.nft(to.Index, fmt.Sprintf("add element ip cut sources { %s }\n", from.Host))
}

// Cut separates two nodes in both directions.
func (c *Cluster) Cut(a, b *Node) {
	c.t.Helper()
	c.CutOneWay(a, b)
	c.CutOneWay(b, a)
}

// Isolate separates n from every other node. The test still reaches it.
func (c *Cluster) Isolate(n *Node) {
	c.t.Helper()
	for _, o := range c.Others(n) {
		c.Cut(n, o)
	}
}

// Heal removes every cut.
func (c *Cluster) Heal() {
	c.t.Helper()
	for i := range c.Nodes {
		c.network.nft(i, "flush set ip cut sources\n")
	}
}
