package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lightning-db/lightning/internal/fakecluster"
)

func TestAnInterruptEndsTheWaitForInput(t *testing.T) {
	for _, verb := range [][]string{{"put", "k", "-"}, {"cas", "k", "0", "-"}, {"import", "-"}} {
		t.Run(verb[0], func(t *testing.T) {
			cluster := fakecluster.New(1)
			defer cluster.Close()
			stdin, pipe := io.Pipe()
			defer pipe.Close() // which ends the read that was left behind
			ctx, interrupt := context.WithCancelCause(t.Context())
			var stderr bytes.Buffer
			code := make(chan int)
			go func() {
				code <- run(ctx, environment{
					args: append(verb, "--addr", "node-0:8379"), stdin: stdin, stdout: io.Discard, stderr: &stderr,
					lookup: func(string) (string, bool) { return "", false }, dial: cluster.Dial,
				})
			}()
			if _, err := pipe.Write([]byte("half a line")); err != nil {
				t.Fatal(err)
			}
			interrupt(errors.New("interrupt signal received"))
			if got := <-code; got != exitUnexpected || !strings.Contains(stderr.String(), "interrupt signal received") {
				t.Errorf("exit %d, %s", got, stderr.String())
			}
		})
	}
}

func TestAnInterruptIsNotTakenForAFailureOfTheCluster(t *testing.T) {
	cluster := fakecluster.New(1)
	defer cluster.Close()
	for _, args := range [][]string{{"get", "k"}, {"scan"}, {"export", "-"}, {"status"}} {
		ctx, interrupt := context.WithCancelCause(t.Context())
		interrupt(errors.New("interrupt signal received"))
		var stderr bytes.Buffer
		code := run(ctx, environment{
			args: append(args, "--addr", "node-0:8379"), stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr,
			lookup: func(string) (string, bool) { return "", false }, dial: cluster.Dial,
		})
		if got := stderr.String(); code != exitUnexpected || got != "lightning-cli: interrupt signal received\n" {
			t.Errorf("%v: exit %d, %s", args, code, got)
		}
	}
}

func TestAnInterruptibleReaderReadsWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := strings.Repeat("0123456789", 50_000)
		got, err := io.ReadAll(&interruptible{ctx: t.Context(), from: strings.NewReader(content)})
		if err != nil || string(got) != content {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
