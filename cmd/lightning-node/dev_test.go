package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/lightning-db/lightning/internal/node"
)

func TestBadCommandLinesEndWithTheUsageCode(t *testing.T) {
	for name, args := range map[string][]string{
		"none":           nil,
		"unknown":        {"serve"},
		"start flag":     {"start", "--nope"},
		"start data dir": {"start"},
		"dev flag":       {"dev", "--nope"},
		"dev argument":   {"dev", "now"},
		"dev no nodes":   {"dev", "--nodes", "0"},
		"dev crowd":      {"dev", "--nodes", "10"},
		"dev port":       {"dev", "--port-offset", "65000"},
	} {
		var out, errs bytes.Buffer
		err := run(context.Background(), args, &out, &errs)
		if node.ExitCode(err) != node.ExitConfig {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestHelpAndVersionSucceed(t *testing.T) {
	for args, want := range map[string]string{
		"help":         "lightning-node start",
		"start --help": "--data-dir",
		"dev --help":   "--port-offset",
		"version":      "lightning-node",
	} {
		var out, errs bytes.Buffer
		if err := run(context.Background(), strings.Fields(args), &out, &errs); err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s printed %q, without %q", args, out.String(), want)
		}
	}
}

func TestDevDoesNotStartOnPortsThatAreInUse(t *testing.T) {
	const offset = 20_000
	for _, port := range []int{devRESPPort, devRESPClusterPort + 1, devGRPCPort, devHTTPPort + 2, devGossipPort} {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port+offset))
		other, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("%s is in use by somebody else, which does as well", address)
		}
		err = devOptions{nodes: 3, portOffset: offset}.checkPorts(t.Context())
		if node.ExitCode(err) != node.ExitAddress || !strings.Contains(err.Error(), "choose another --port-offset") {
			t.Errorf("port %d in use: %v", port, err)
		}
		if other != nil {
			_ = other.Close()
		}
	}
}

func TestAHangupStopsUnlessItIsIgnored(t *testing.T) {
	before := signal.Ignored(syscall.SIGHUP)
	if got := slices.Contains(stopSignals(), os.Signal(syscall.SIGHUP)); got == before {
		t.Errorf("stops at a hangup: %t, ignored: %t", got, before)
	}
	signal.Ignore(syscall.SIGHUP)
	if !before {
		defer signal.Reset(syscall.SIGHUP)
	}
	if slices.Contains(stopSignals(), os.Signal(syscall.SIGHUP)) {
		t.Error("an ignored hangup stops")
	}
}
