package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"slices"
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
