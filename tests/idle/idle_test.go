package idle

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

var (
	groups = flag.String("idle.groups", "3", "numbers of shards to measure, separated by commas")
	pause  = flag.Duration("idle.pause", 2*time.Second, "time between ready and the first reading")
	length = flag.Duration("idle.for", time.Second, "time between the readings")
)

// TestIdleGroupsCostLittle prints the cost of each number of groups. It fails only when nodes do
// not become ready or there are fewer leaders than groups.
func TestIdleGroupsCostLittle(t *testing.T) {
	for _, text := range strings.Split(*groups, ",") {
		count, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) { measure(t, count) })
	}
}

func measure(t *testing.T, count int) {
	c := cluster.Start(t, cluster.Options{Args: []string{"--shards", text(count)}, ReadyWithin: 2 * time.Minute})
	cluster.Eventually(t, time.Minute, "every group has a leader", func() error {
		if n := len(c.Leaders(t.Context())); n != count {
			return fmt.Errorf("%d of %d have one", n, count)
		}
		return nil
	})
	waitFor(t, *pause)
	before := make([]usage, len(c.Nodes))
	for i, n := range c.Nodes {
		before[i] = readUsage(t, n.PID())
	}
	waitFor(t, *length)
	for i, n := range c.Nodes {
		after := readUsage(t, n.PID())
		elapsed := after.at.Sub(before[i].at)
		t.Logf("groups=%d node=%d cpu=%.2f%% of a core, rss=%.1f MiB, threads=%d", count, i,
			100*(after.cpu-before[i].cpu).Seconds()/elapsed.Seconds(), float64(after.rss)/(1<<20), after.threads)
	}
}

func text(n int) string { return strconv.Itoa(n) }

func waitFor(t *testing.T, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// usage is what a process has used when it was read.
type usage struct {
	at      time.Time
	cpu     time.Duration // user and system
	rss     int64
	threads int64
}

// ticksPerSecond is the unit of times in /proc on every architecture that Linux and Go share.
const ticksPerSecond = 100

var errStat = errors.New("/proc/<pid>/stat has an unknown form")

func readUsage(t *testing.T, pid int) usage {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// The second field is a name in parentheses, which may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 22 {
		t.Fatal(errStat)
	}
	number := func(field int) int64 { // as counted in proc(5)
		n, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			t.Fatal(errors.Join(errStat, err))
		}
		return n
	}
	return usage{
		at:  time.Now(),
		cpu: time.Duration(number(14)+number(15)) * time.Second / ticksPerSecond,
		rss: number(24) * int64(os.Getpagesize()), threads: number(20),
	}
}
