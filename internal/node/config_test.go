package node

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/lightning-db/lightning/raft"
)

func noEnv(string) (string, bool) { return "", false }

func env(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := pairs[name]; return v, ok }
}

func TestCommandLineWinsOverEnvironmentWinsOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	content := "data_dir: /file\nname: file\nzone: file\njoin: [a:1, b:2]\nbootstrap_expect: 3\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig([]string{"--config", file, "--data-dir", "/flag"},
		env(map[string]string{"LIGHTNING_DATA_DIR": "/env", "LIGHTNING_NAME": "env"}))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/flag" || c.Name != "env" || c.Zone != "file" || c.BootstrapExpect != 3 || strings.Join(c.Join, " ") != "a:1 b:2" {
		t.Fatalf("got %+v", c)
	}
}

func TestConfigReportsEveryProblemAtOnce(t *testing.T) {
	_, err := LoadConfig([]string{"--host", "0.0.0.0", "--resp-port", "8379", "--log-level", "loud", "--bootstrap-expect", "3"}, noEnv)
	var config *ConfigError
	if !errors.As(err, &config) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"--data-dir is required", "--insecure", "both 8379", "--log-level", "needs --join"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not reported in %q", want, err)
		}
	}
	if ExitCode(err) != ExitConfig {
		t.Errorf("exit code %d", ExitCode(err))
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown flag":          {"--data-dir", "/d", "--nope"},
		"argument":              {"--data-dir", "/d", "serve"},
		"port out of range":     {"--data-dir", "/d", "--resp-port", "70000"},
		"one port for two":      {"--data-dir", "/d", "--resp-cluster-port", "6379"},
		"reads of yesterday":    {"--data-dir", "/d", "--stale-read-bound", "24h"},
		"port zero":             {"--data-dir", "/d", "--grpc-port", "0"},
		"host name":             {"--data-dir", "/d", "--host", "example.org"},
		"unspecified advertise": {"--data-dir", "/d", "--advertise-host", "0.0.0.0"},
		"too many shards":       {"--data-dir", "/d", "--shards", "257"},
		"missing file":          {"--data-dir", "/d", "--config", "/nowhere/node.yaml"},
		"hasty heartbeat":       {"--data-dir", "/d", "--heartbeat-timeout", "1ms"},
		"name not UTF-8":        {"--data-dir", "/d", "--name", "\xff"},
		"long zone":             {"--data-dir", "/d", "--zone", strings.Repeat("z", 65)},
		"a crowd":               {"--data-dir", "/d", "--join", "a:1", "--bootstrap-expect", "65"},
		"long name":             {"--data-dir", "/d", "--name", strings.Repeat("n", 65)},
	} {
		if _, err := LoadConfig(args, noEnv); ExitCode(err) != ExitConfig {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTheClusterListenerCanBeLeftOut(t *testing.T) {
	c, err := LoadConfig([]string{"--data-dir", "/d", "--resp-cluster-port", "0"}, noEnv)
	n := &node{config: c}
	if err != nil || n.respClusterAddress() != "" {
		t.Errorf("%v, %q", err, n.respClusterAddress())
	}
	n.config.RESPClusterPort = 7379
	if got := n.respClusterAddress(); got != "127.0.0.1:7379" {
		t.Error(got)
	}
}

func TestUnknownYAMLKeyIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(file, []byte("data_dir: /d\ndata_dri: /e\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadConfig([]string{"--config", file}, noEnv)
	if err == nil || !strings.Contains(err.Error(), `unknown setting "data_dri"`) {
		t.Fatalf("got %v", err)
	}
}

func TestHelpIsNotAnError(t *testing.T) {
	if _, err := LoadConfig([]string{"--help"}, noEnv); !errors.Is(err, pflag.ErrHelp) {
		t.Fatalf("got %v", err)
	}
}

func TestConfigDocIsCurrent(t *testing.T) {
	const name = "../../docs/config.md"
	var want strings.Builder
	if err := WriteConfigDoc(&want); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("LIGHTNING_REWRITE") != "" {
		if err := os.WriteFile(name, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Errorf("%s is not what the table says; run the tests with LIGHTNING_REWRITE=1", name)
	}
}

func TestAStalledDiskHasAnExitCodeOfItsOwn(t *testing.T) {
	n := &node{failed: make(chan struct{}), logger: slog.New(slog.DiscardHandler)}
	if n.stalled() != nil {
		t.Fatal("a node that has not failed has stalled")
	}
	n.fail(fmt.Errorf("group 7: %w", &raft.StalledError{Group: 7, For: 20 * time.Second}))
	if code := ExitCode(n.stalled()); code != ExitStalled {
		t.Errorf("a disk that stalls ends the node with %d", code)
	}
	n = &node{failed: make(chan struct{}), logger: slog.New(slog.DiscardHandler)}
	n.fail(errors.New("no space left on device"))
	if code := ExitCode(n.verdict(n.stalled())); code != ExitStorage {
		t.Errorf("a disk that fails ends the node with %d", code)
	}
}
