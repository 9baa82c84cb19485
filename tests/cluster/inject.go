package cluster

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// syncCalls are the system calls by which a program asks that bytes be on the disk.
const syncCalls = "fsync,fdatasync,sync_file_range,msync"

// Injection is a tracer that is attached to a node and interferes with its system calls.
type Injection struct {
	n    *Node
	cmd  *exec.Cmd
	out  string
	done chan struct{}
}

// FailSyncs makes each sync of a file or directory in paths fail with EIO, without being done; no paths are all paths.
func (n *Node) FailSyncs(paths ...string) *Injection {
	n.t.Helper()
	return n.inject(syncCalls, "error=EIO", paths)
}

// SkipSyncs makes each sync succeed without being done, as a disk that lies does.
func (n *Node) SkipSyncs() *Injection {
	n.t.Helper()
	return n.inject(syncCalls, "retval=0", nil)
}

// SlowSyncs delays each sync by d.
func (n *Node) SlowSyncs(d time.Duration) *Injection {
	n.t.Helper()
	return n.inject(syncCalls, "delay_enter="+strconv.FormatInt(d.Microseconds(), 10), nil)
}

// inject attaches a tracer to the running process and returns when every thread of it is traced.
func (n *Node) inject(calls, what string, paths []string) *Injection {
	n.t.Helper()
	RequireRoot(n.t, "strace")
	in := &Injection{n: n, done: make(chan struct{}), out: filepath.Join(n.t.TempDir(), "strace")}
	args := []string{"-f", "-qq", "-o", in.out, "-p", strconv.Itoa(n.PID()), "-e", "trace=" + calls, "-e", "signal=none", "-e", "inject=" + calls + ":" + what}
	for _, p := range paths {
		args = append(args, "-P", p)
	}
	in.cmd = exec.Command("strace", append(args, "-q")...)
	in.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	messages, err := in.cmd.StderrPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := in.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go in.wait(messages)
	n.t.Cleanup(in.End)
	pid := n.PID()
	Eventually(n.t, 20*time.Second, "all threads of "+n.Name+" are traced", func() error { return traced(pid) })
	return in
}

func (in *Injection) wait(messages io.Reader) {
	defer close(in.done)
	lines := bufio.NewScanner(messages)
	for lines.Scan() { // a full pipe would stop the tracer
	}
	_ = in.cmd.Wait()
}

// traced reports whether each thread of a process has a tracer; a process that has ended has none to want.
func traced(pid int) error {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, file := range threads {
		status, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(status), "TracerPid:\t0\n") {
			return fmt.Errorf("%s: no tracer", file)
		}
	}
	return nil
}

// End detaches the tracer; the process goes on without interference.
func (in *Injection) End() {
	_ = in.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-in.done:
	case <-time.After(20 * time.Second):
		in.n.t.Errorf("the tracer of %s did not end", in.n.Name)
		_ = in.cmd.Process.Kill()
	}
}

// Hits is the number of calls that were interfered with.
func (in *Injection) Hits() int {
	b, err := os.ReadFile(in.out)
	if err != nil {
		return 0
	}
	return strings.Count(string(b), "(INJECTED)") + strings.Count(string(b), "(DELAYED)")
}
