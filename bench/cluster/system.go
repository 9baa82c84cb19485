package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// system is one that is measured, with its settings.
type system struct {
	name     string
	promise  string   // copies, and what an acknowledgement means
	settings string   // as they are printed
	does     []string // workloads
	start    func(ctx context.Context, dir string) (running, error)
}

func (s *system) runs(w workload) bool { return slices.Contains(s.does, w.name) }

// running is a started system.
type running interface {
	client(ctx context.Context, index int, w workload) (client, error)
	usage() usage
	flush()
	stop()
}

// processes are the servers of a system.
type processes struct {
	commands []*exec.Cmd
	dir      string // of the last one's log, beside the data
}

// startProcess starts a server with its log in a file. It ends with this program.
func (p *processes) start(log string, command string, args ...string) error {
	p.dir = filepath.Dir(log)
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	cmd := exec.Command(command, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.commands = append(p.commands, cmd)
	return nil
}

func (p *processes) usage() usage {
	var pids []int
	for _, c := range p.commands {
		pids = append(pids, c.Process.Pid)
	}
	return usageOf(pids, p.dir)
}

// flush writes out what the system keeps for later; most have no command for it, and what the
// kernel holds is written by sync.
func (p *processes) flush() { syscall.Sync() }

func (p *processes) stop() {
	for _, c := range p.commands {
		_ = c.Process.Kill()
	}
	for _, c := range p.commands {
		_ = c.Wait()
	}
	p.commands = nil
}

// freePorts finds ports that nobody uses now.
func freePorts(count int) ([]int, error) {
	var ports []int
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// until calls try until it succeeds.
func until(ctx context.Context, limit time.Duration, try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if wait(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("not ready after %v: %w", limit, err)
		}
	}
}

// goBuild builds a program and returns its path.
func goBuild(dir, pkg, out string) error {
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// systems lists what can be measured here and builds what has to be built.
func systems(s settings, bin string) ([]*system, error) {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	var all []*system
	ours, err := lightningSystems(s, bin)
	if err != nil {
		return nil, err
	}
	all = append(all, ours...)
	all = append(all, etcdSystem(bin), natsSystem(bin))
	all = append(all, redisSystems()...)
	builds := map[string][2]string{
		"lightning-node": {s.root, "./cmd/lightning-node"},
		"etcd":           {".", "./peers/etcd"},
		"nats-server":    {".", "github.com/nats-io/nats-server/v2"},
	}
	var errs []error
	for name, b := range builds {
		if needed(all, s, name) {
			errs = append(errs, goBuild(b[0], b[1], filepath.Join(bin, name)))
		}
	}
	return all, errors.Join(errs...)
}

func needed(all []*system, s settings, program string) bool {
	return slices.ContainsFunc(all, func(sys *system) bool {
		return wanted(s.systems, sys.name) && strings.HasPrefix(program, strings.SplitN(sys.name, "-", 2)[0])
	})
}
