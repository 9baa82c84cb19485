package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/redcon"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

// serveRESP answers SET by writing to the cluster; broken says which keys it damages.
func serveRESP(t *testing.T, cluster *fakecluster.Cluster, broken string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := redcon.NewServer("", func(conn redcon.Conn, cmd redcon.Command) {
		if !strings.EqualFold(string(cmd.Args[0]), "set") {
			conn.WriteError("ERR unknown command")
			return
		}
		key, value := string(cmd.Args[1]), string(cmd.Args[2])
		switch {
		case len(value) > api.MaxValueBytes:
			conn.WriteError("ERR the value is over the limit")
			return
		case key == broken:
			value += "!"
		}
		cluster.Put(key, value)
		conn.WriteString("OK")
	}, nil, nil)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return listener.Addr().String()
}

func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"empty": nil, "net/http/server.go": []byte("package http"), "net/http/client.go": []byte("package http\n"),
		"net/http/internal/testcert/cert.go": {0, 0xff, '\r', '\n'}, "net/ip.go": []byte("package net"),
		"zz/large": bytes.Repeat([]byte("x"), api.MaxValueBytes+1),
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestATreeComesBackAsItWas(t *testing.T) {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	var out bytes.Buffer
	err := run(t.Context(), config{
		dir: tree(t), resp: serveRESP(t, cluster, ""), grpc: cluster.Addresses()[1], dial: cluster.Dial,
		workers: 4, prefix: "net/http/", timeout: 10 * time.Second,
	}, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"6 regular files", fmt.Sprintf("refused zz/large, %d bytes: ERR the value is over the limit", api.MaxValueBytes+1),
		"loaded  5 files", "5 of 5 paths found, 0 missing, 0 extra", "5 of 5 files with equal SHA-256",
		"net/http/ lists 3 keys in order",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output does not mention %q:\n%s", want, out.String())
		}
	}
}

func TestEveryDifferenceIsAnError(t *testing.T) {
	cluster := fakecluster.New(1)
	defer cluster.Close()
	cluster.Put("net/http/stranger", "")
	var out bytes.Buffer
	err := run(t.Context(), config{
		dir: tree(t), resp: serveRESP(t, cluster, "net/ip.go"), grpc: cluster.Addresses()[0], dial: cluster.Dial,
		workers: 4, prefix: "net/http/", timeout: 10 * time.Second,
	}, &out)
	for _, want := range []string{"0 missing, 1 extra", "get net/ip.go: 12 bytes with another SHA-256", "scan prefix net/http/: 4 keys"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
}

func TestAFailedLoadIsAnError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	var out bytes.Buffer
	err = run(t.Context(), config{dir: tree(t), resp: listener.Addr().String(), workers: 2, timeout: time.Second}, &out)
	if err == nil || !strings.Contains(err.Error(), "files failed") {
		t.Errorf("got %v", err)
	}
	if err := run(t.Context(), config{dir: t.TempDir()}, &out); err == nil || !strings.Contains(err.Error(), "no regular files") {
		t.Errorf("empty directory: %v", err)
	}
}
