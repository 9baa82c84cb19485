package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Node is one process, running or not. Fields are set once by the cluster.
type Node struct {
	Index int
	Name  string
	Dir   string // data directory
	Log   string // file with everything the process printed, over all its lives
	Host  string
	RESP  string // host:port
	// RESPCluster is the listener for cluster-aware Redis clients.
	RESPCluster string
	GRPC        string
	HTTP        string
	Addr        string // gossip

	t      testing.TB
	binary string
	args   []string
	env    []string
	netns  string // empty: the test's own
	secure *Secure

	mu struct {
		sync.Mutex
		process *process
		paused  bool
	}
}

// process is one life of a node.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it was waited for; then cmd.ProcessState is set
}

// Install makes the next start run another program.
func (n *Node) Install(binary string) { n.binary = binary }

// Run starts the process and does not wait until it is ready.
func (n *Node) Run(extra ...string) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.mu.process; p != nil && !p.isDone() {
		n.t.Fatalf("start %s: already running", n.Name)
	}
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	args := append(append([]string{"start"}, n.args...), extra...)
	command := append([]string{n.binary}, args...)
	if n.netns != "" {
		command = append([]string{"ip", "netns", "exec", n.netns}, command...)
	}
	_, _ = fmt.Fprintf(log, "--- %s %s\n", time.Now().Format(time.RFC3339Nano), command)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), n.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		n.t.Fatalf("start %s: %v", n.Name, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go p.wait()
	n.mu.process, n.mu.paused = p, false
}

func (p *process) wait() {
	defer close(p.done)
	_ = p.cmd.Wait() // how it ended is in ProcessState
}

func (p *process) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (n *Node) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.process
}

// Running reports whether the process has not ended.
func (n *Node) Running() bool {
	p := n.current()
	return p != nil && !p.isDone()
}

// PID is the id of the running process, 0 when there is none.
func (n *Node) PID() int {
	if p := n.current(); p != nil && !p.isDone() {
		return p.cmd.Process.Pid
	}
	return 0
}

// Signal sends s if the process still runs.
func (n *Node) Signal(s syscall.Signal) {
	n.t.Helper()
	p := n.current()
	if p == nil {
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Errorf("signal %v to %s: %v", s, n.Name, err)
	}
}

// Kill ends the process as kill -9 does and returns when it is gone.
func (n *Node) Kill() {
	n.t.Helper()
	n.Signal(syscall.SIGKILL)
	n.WaitExit(exitLimit)
}

// Pause stops the process in its tracks; Resume lets it go on.
func (n *Node) Pause()  { n.setPaused(true); n.Signal(syscall.SIGSTOP) }
func (n *Node) Resume() { n.Signal(syscall.SIGCONT); n.setPaused(false) }

func (n *Node) setPaused(paused bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.paused = paused
}

// answers reports whether it makes sense to ask the node anything.
func (n *Node) answers() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.process != nil && !n.mu.process.isDone() && !n.mu.paused
}

// exitLimit is ten times what a node takes to end or to become ready on a busy machine.
const exitLimit = time.Minute

// Stop asks the process to end and returns its exit code.
func (n *Node) Stop() int {
	n.t.Helper()
	n.Signal(syscall.SIGTERM)
	return n.WaitExit(exitLimit)
}

// WaitExit waits for the end of the process and returns its exit code, -1 when a signal ended it.
func (n *Node) WaitExit(limit time.Duration) int {
	n.t.Helper()
	p := n.current()
	if p == nil {
		return 0
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-timer.C:
		n.t.Fatalf("%s did not end within %v\n%s", n.Name, limit, n.Stacks())
		return 0
	}
}

// Stacks makes the process print its goroutines and end, and returns the end of its log.
func (n *Node) Stacks() string {
	n.Signal(syscall.SIGQUIT)
	if p := n.current(); p != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		select {
		case <-p.done:
		case <-ctx.Done():
		}
	}
	return n.LogTail(60_000)
}

// Restart starts the process again and waits until it is ready.
func (n *Node) Restart() {
	n.t.Helper()
	n.Run()
	n.WaitReady(exitLimit)
}

// Ready asks /readyz, which stays once it was true, and whether all shards of the node have leaders at this moment.
func (n *Node) Ready(ctx context.Context) error {
	if !n.Running() {
		return fmt.Errorf("%s is not running", n.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := n.get(ctx, "/readyz")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	_, _ = body.ReadFrom(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", n.Name, resp.Status, bytes.TrimSpace(body.Bytes()))
	}
	answer, err := n.Status(ctx)
	switch {
	case status.Code(errors.Unwrap(err)) == codes.Unauthenticated: // only the test knows the password
		return nil
	case err == nil && !answer.GetReady():
		return fmt.Errorf("%s: %s", n.Name, answer.GetNotReadyReason())
	}
	return err
}

var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// WaitReady waits until the node says that it is ready, and fails the test if it ends or takes longer.
func (n *Node) WaitReady(limit time.Duration) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := Poll(ctx, func() error {
		if p := n.current(); p != nil && p.isDone() {
			cancel()
			return fmt.Errorf("%s ended with code %d:\n%s", n.Name, p.cmd.ProcessState.ExitCode(), n.LogTail(2000))
		}
		return n.Ready(ctx)
	})
	if err != nil {
		n.t.Fatalf("%s not ready within %v: %v", n.Name, limit, err)
	}
}

// LogTail is the last bytes of everything the node printed.
func (n *Node) LogTail(limit int) string {
	b, err := os.ReadFile(n.Log)
	if err != nil {
		return err.Error()
	}
	if len(b) > limit {
		b = b[len(b)-limit:]
	}
	return string(b)
}

func join(host string, port int) string { return host + ":" + strconv.Itoa(port) }

// bugMarks are what no life of a node may print, whatever was done to it.
var bugMarks = []string{"WARNING: DATA RACE", "\npanic: ", "\nfatal error: "}

// bug is the part of the log that shows a data race or a panic, empty when there is none.
func (n *Node) bug() string {
	text := n.LogTail(math.MaxInt)
	for _, mark := range bugMarks {
		if i := strings.Index(text, mark); i >= 0 {
			return text[i:min(i+6000, len(text))]
		}
	}
	return ""
}

func (n *Node) setAddresses(host string, resp, respCluster, grpc, http, gossip int) {
	n.Host, n.RESP, n.GRPC, n.HTTP, n.Addr = host, join(host, resp), join(host, grpc), join(host, http), join(host, gossip)
	n.RESPCluster = join(host, respCluster)
	n.args = append(n.args, "--name", n.Name, "--data-dir", n.Dir, "--host", host,
		"--resp-port", strconv.Itoa(resp), "--resp-cluster-port", strconv.Itoa(respCluster), "--grpc-port", strconv.Itoa(grpc),
		"--http-port", strconv.Itoa(http), "--gossip-port", strconv.Itoa(gossip))
}
