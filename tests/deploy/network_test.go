package deploy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// prefix marks the interfaces and namespaces of these tests; the process id of the test follows, so that what a killed
// test left can be told from what is in use.
const prefix = "ldp"

// podNetwork is a bridge, and a namespace for each pod, which gets another address with each life, as pods do.
type podNetwork struct {
	t      *testing.T
	id     string
	subnet string // the first three numbers
	spaces []string
	last   int // number of the last address
}

// newPodNetwork skips the test where namespaces cannot be made, unless LIGHTNING_REQUIRE_NETNS=1.
func newPodNetwork(t *testing.T) *podNetwork {
	t.Helper()
	err := run("ip", "netns", "list")
	if os.Geteuid() != 0 {
		err = fmt.Errorf("network namespaces need root")
	}
	switch {
	case err == nil:
	case os.Getenv("LIGHTNING_REQUIRE_NETNS") == "1":
		t.Fatalf("LIGHTNING_REQUIRE_NETNS=1, but %v", err)
	default:
		t.Skipf("skipped: %v (LIGHTNING_REQUIRE_NETNS=1 makes this a failure)", err)
	}
	removeStale(t)
	n := &podNetwork{t: t, id: prefix + strconv.Itoa(os.Getpid()), subnet: freeSubnet(t)}
	t.Cleanup(n.remove)
	n.must("ip", "link", "add", n.id, "type", "bridge", "forward_delay", "0")
	n.must("ip", "addr", "add", n.subnet+".254/24", "dev", n.id)
	n.must("ip", "link", "set", n.id, "up")
	return n
}

func (n *podNetwork) must(command ...string) {
	n.t.Helper()
	if err := run(command...); err != nil {
		n.t.Fatal(err)
	}
}

// join makes the namespace of a pod and returns its name.
func (n *podNetwork) join() string {
	n.t.Helper()
	i := len(n.spaces)
	space, link := fmt.Sprintf("%s-%d", n.id, i), fmt.Sprintf("%sv%d", n.id, i)
	n.spaces = append(n.spaces, space)
	n.must("ip", "netns", "add", space)
	n.must("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
	n.must("ip", "link", "set", link, "master", n.id, "up")
	n.must("ip", "-n", space, "link", "set", "lo", "up")
	n.must("ip", "-n", space, "link", "set", "eth0", "up")
	return space
}

// address gives the namespace an address that nobody had before.
func (n *podNetwork) address(space string) string {
	n.t.Helper()
	n.last++
	if n.last > 250 {
		n.t.Fatal("no address is left")
	}
	address := fmt.Sprintf("%s.%d", n.subnet, n.last)
	n.must("ip", "-n", space, "addr", "flush", "dev", "eth0")
	n.must("ip", "-n", space, "addr", "add", address+"/24", "dev", "eth0")
	return address
}

func (n *podNetwork) remove() {
	for _, space := range n.spaces {
		_ = run("ip", "netns", "del", space)
	}
	_ = run("ip", "link", "del", n.id)
}

func freeSubnet(t *testing.T) string {
	t.Helper()
	taken, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for k := range 5 * 256 {
		k += os.Getpid()
		subnet := fmt.Sprintf("10.%d.%d", 190+k/256%5, k%256)
		if !slices.ContainsFunc(taken, func(a net.Addr) bool { return strings.HasPrefix(a.String(), subnet+".") }) {
			return subnet
		}
	}
	t.Fatal("no subnet is free")
	return ""
}

// removeStale removes what tests that no longer run have left.
func removeStale(t *testing.T) {
	for dir, remove := range map[string][]string{"/run/netns": {"ip", "netns", "del"}, "/sys/class/net": {"ip", "link", "del"}} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			rest, ours := strings.CutPrefix(e.Name(), prefix)
			digits, _, _ := strings.Cut(rest, "-")
			digits, _, _ = strings.Cut(digits, "v")
			if pid, err := strconv.Atoi(digits); ours && err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
				t.Logf("removing stale %s", e.Name())
				_ = run(append(slices.Clone(remove), e.Name())...)
			}
		}
	}
}

func run(command ...string) error {
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
	}
	return nil
}
