package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	dir     string
	resp    string
	grpc    string
	workers int
	prefix  string
	timeout time.Duration

	dial func(ctx context.Context, address string) (net.Conn, error) // of gRPC; nil is TCP
}

func main() {
	var c config
	flag.StringVar(&c.dir, "dir", "", "directory to load (default: src below what \"go env GOROOT\" prints)")
	flag.StringVar(&c.resp, "resp", "127.0.0.1:6379", "RESP address of the node to load through")
	flag.StringVar(&c.grpc, "grpc", "127.0.0.1:8380", "gRPC address of another node, to read back from")
	flag.IntVar(&c.workers, "workers", 32, "concurrent requests")
	flag.StringVar(&c.prefix, "prefix", "net/http/", "prefix of the scan at the end")
	flag.DurationVar(&c.timeout, "timeout", 30*time.Second, "limit of one request")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, c, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "loadtree:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, c config, out io.Writer) error {
	if c.workers < 1 {
		return fmt.Errorf("--workers is %d, want 1 or more", c.workers)
	}
	if c.dir == "" {
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("find the Go source, name a directory with --dir: %w", err)
		}
		c.dir = filepath.Join(strings.TrimSpace(string(root)), "src")
	}
	return run(ctx, c, out)
}

// run makes all steps, and fails after the first that found something wrong.
func run(ctx context.Context, c config, out io.Writer) error {
	tree, err := list(c.dir)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "list    %d regular files below %s\n", len(tree), c.dir)
	if err := load(ctx, c, tree, out); err != nil {
		return err
	}
	return verify(ctx, c, tree, out)
}
