package differential

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/wire"
)

// startRedis runs Debian's redis-server, without files and with one database as a node has. It ends
// with the test.
func startRedis(t *testing.T) (address string) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed; .ci/run names the package")
	}
	port, dir := cluster.FreePort(t), t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--databases", "1", "--dir", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		_ = log.Close()
	})
	address = fmt.Sprintf("127.0.0.1:%d", port)
	cluster.Eventually(t, 10*time.Second, "redis-server answers", func() error {
		v, err := do(address, "PING")
		if err == nil && v.Raw != "+PONG\r\n" {
			err = fmt.Errorf("PING: %v", v)
		}
		return err
	})
	return address
}

// do sends one command by a connection of its own.
func do(address string, args ...string) (wire.Value, error) {
	c, err := wire.Dial(address, 30*time.Second)
	if err != nil {
		return wire.Value{}, err
	}
	defer func() { _ = c.Close() }()
	return c.Do(args...)
}

// commandList is what COMMAND LIST names, in upper case.
func commandList(t *testing.T, address string) map[string]bool {
	t.Helper()
	v, err := do(address, "COMMAND", "LIST")
	if err != nil || len(v.Items) == 0 {
		t.Fatalf("COMMAND LIST of %s: %v, %v", address, v, err)
	}
	names := map[string]bool{}
	for _, item := range v.Items {
		names[strings.ToUpper(item.Text)] = true
	}
	return names
}

// redisVersion is what INFO says.
func redisVersion(t *testing.T, address string) string {
	t.Helper()
	v, err := do(address, "INFO", "server")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(v.Text, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	return version
}
