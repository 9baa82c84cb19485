package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memoryControllers are where the kernel's memory controller may be mounted, version 1 and 2, and the names of a group's
// limit and of the file that counts how often the limit was hit.
var memoryControllers = []struct{ dir, limit, hits string }{
	{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.failcnt"},
	{"/sys/fs/cgroup", "memory.max", "memory.events"},
}

// MemoryGroup is a memory control group with one process.
type MemoryGroup struct{ dir, limit, hits string }

// LimitMemory puts the running process into a memory control group of its own: when what it takes from now on exceeds
// limitBytes and cannot be reclaimed, the kernel kills it. The error says why that is not possible here.
// A new life of the node is not limited.
func (n *Node) LimitMemory(limitBytes int64) (*MemoryGroup, error) {
	var problem error
	for _, c := range memoryControllers {
		removeStaleGroups(c.dir)
		g := &MemoryGroup{filepath.Join(c.dir, fmt.Sprintf("%s%d-%s-%d", namePrefix, os.Getpid(), n.Name, time.Now().UnixNano())), c.limit, c.hits}
		if problem = g.take(n.PID(), limitBytes); problem == nil {
			n.t.Cleanup(g.remove)
			return g, nil
		}
		g.remove()
	}
	return nil, fmt.Errorf("memory control group: %w", problem)
}

func (g *MemoryGroup) take(pid int, limitBytes int64) error {
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return err
	}
	if err := g.Limit(limitBytes); err != nil {
		return err
	}
	return write(filepath.Join(g.dir, "cgroup.procs"), int64(pid))
}

// Limit sets another limit. The error of one below what is taken says that the kernel could not reclaim enough.
func (g *MemoryGroup) Limit(limitBytes int64) error {
	return write(filepath.Join(g.dir, g.limit), limitBytes)
}

// Hit reports whether the process ran into the limit.
func (g *MemoryGroup) Hit() bool {
	b, err := os.ReadFile(filepath.Join(g.dir, g.hits))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if counter := fields[len(fields)-1]; counter != "0" && (len(fields) == 1 || fields[0] == "max") {
			return true
		}
	}
	return false
}

// remove fails while the process still runs; then a later test removes the group.
func (g *MemoryGroup) remove() { _ = os.Remove(g.dir) }

func removeStaleGroups(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, namePrefix+"*"))
	for _, group := range left {
		if gone(strings.SplitN(filepath.Base(group), "-", 2)[0]) {
			_ = os.Remove(group)
		}
	}
}

// write opens an existing file only: a directory that is no control group must not seem to be one.
func write(file string, number int64) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.FormatInt(number, 10))
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// PeakMemory is the most memory that the running process has had resident, in bytes; 0 when it does not run.
func (n *Node) PeakMemory() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}
