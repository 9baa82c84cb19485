package cluster

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// obey does what each line of standard input says and prints what came of it.
func obey() error {
	var ballast [][]byte
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		verb, argument, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "time":
			fmt.Println(time.Now().Unix())
		case "sync":
			fmt.Println(syncFile(argument))
		case "eat":
			b := make([]byte, 64<<20)
			for i := range b {
				b[i] = 1
			}
			ballast = append(ballast, b)
			fmt.Println(len(ballast))
		}
	}
	runtime.KeepAlive(ballast)
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return f.Sync()
}

// servant is a node that is nothing but a process which obeys.
type servant struct {
	*Node
	in  io.Writer
	out *bufio.Scanner
}

func newServant(t *testing.T) *servant {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CLUSTER_TEST_ROLE=obey")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	n := &Node{Name: "servant", t: t}
	n.mu.process = p
	s := &servant{Node: n, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(func() { _ = cmd.Process.Kill(); p.wait() })
	s.do("time") // it runs
	return s
}

func (s *servant) do(line string) string {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.in, line); err != nil {
		s.t.Fatal(err)
	}
	s.out.Scan()
	return s.out.Text()
}

func TestClockOfAProcessJumpsAndComesBack(t *testing.T) {
	RequireRoot(t)
	if err := CanShiftClock(); err != nil {
		t.Skip(err)
	}
	s := newServant(t)
	for _, shift := range []time.Duration{time.Hour, -time.Hour, 0} {
		s.ShiftClock(shift)
		var says int64
		if _, err := fmt.Sscan(s.do("time"), &says); err != nil {
			t.Fatal(err)
		}
		if off := time.Until(time.Unix(says, 0)) - shift; off.Abs() > time.Minute {
			t.Errorf("shifted by %v, the clock is off by %v", shift, off)
		}
	}
}

func TestSyncsFailWhereAskedForAndOnlyWhileTraced(t *testing.T) {
	RequireRoot(t, "strace")
	s := newServant(t)
	dir := t.TempDir()
	hit, spared := filepath.Join(dir, "hit"), filepath.Join(dir, "spared")
	expect := func(path, want string) {
		t.Helper()
		if got := s.do("sync " + path); !strings.HasSuffix(got, want) {
			t.Errorf("sync of %s: %s, want %s", path, got, want)
		}
	}
	in := s.FailSyncs(hit)
	expect(hit, "input/output error")
	expect(spared, "<nil>")
	in.End()
	expect(hit, "<nil>")
	if in.Hits() != 1 {
		t.Errorf("%d hits", in.Hits())
	}
}

func TestMemoryLimitKillsWhoTakesMore(t *testing.T) {
	RequireRoot(t)
	s := newServant(t)
	group, err := s.LimitMemory(128 << 20)
	if err != nil {
		t.Skip(err)
	}
	if got := s.do("eat"); got != "1" {
		t.Fatalf("64 MiB of 128: %q", got)
	}
	if peak := s.PeakMemory(); peak < 64<<20 || peak > 128<<20 {
		t.Errorf("peak is %d bytes", peak)
	}
	if got := s.do("eat"); got != "" {
		t.Errorf("128 MiB and a runtime in 128: %q", got)
	}
	if !group.Hit() {
		t.Error("the group does not say that it was full")
	}
}

func TestPowerCutTakesWhatWasNotSyncedAndOnlyThat(t *testing.T) {
	d := NewLoopDisk(t, 32<<20)
	synced, unsynced := filepath.Join(d.Dir, "synced"), filepath.Join(d.Dir, "unsynced")
	if err := syncFile(synced); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unsynced, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.CutPower()
	if err := os.WriteFile(filepath.Join(d.Dir, "late"), nil, 0o600); err == nil {
		t.Error("a disk without power takes a file")
	}
	d.PowerOn()
	if _, err := os.Stat(synced); err != nil {
		t.Errorf("synced: %v", err)
	}
	if _, err := os.Stat(unsynced); err == nil {
		t.Error("what was not synced survived")
	}
}
