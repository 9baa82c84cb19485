package raft

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/lightning-db/lightning/internal/clock"
)

// libraryLogger makes the logger that hashicorp/raft wants out of ours. Only warnings and
// errors pass. The library repeats some of them many times a second for as long as a peer is
// away; each text is written at most once per logQuiet and then says how many were left out.
func libraryLogger(logger *slog.Logger, c clock.Clock) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	l.RegisterSink(&logSink{logger: logger, clock: c, seen: make(map[string]*logRepeat)})
	return l
}

const logQuiet = 10 * time.Second

type logSink struct {
	logger *slog.Logger
	clock  clock.Clock

	// mu is a leaf.
	mu   sync.Mutex
	seen map[string]*logRepeat // by text, of which the library has a few dozen
}

type logRepeat struct {
	next    time.Time
	skipped int
}

// Accept implements hclog.SinkAdapter.
func (s *logSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	if level < hclog.Warn {
		return
	}
	skipped, quiet := s.repeated(msg)
	if quiet {
		return
	}
	if skipped > 0 {
		args = append(args[:len(args):len(args)], "repeated", skipped)
	}
	// What the library calls an error is for us a peer that is away or a vote that was lost.
	// Failures of this node's storage are logged where they are found.
	s.logger.Log(context.Background(), slog.LevelWarn, "raft: "+msg, plainArgs(args)...)
}

func (s *logSink) repeated(msg string) (skipped int, quiet bool) {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.seen[msg]
	if r == nil {
		r = &logRepeat{}
		s.seen[msg] = r
	}
	if now.Before(r.next) {
		r.skipped++
		return 0, true
	}
	skipped, r.skipped, r.next = r.skipped, 0, now.Add(logQuiet)
	return skipped, false
}

// plainArgs replaces what only hclog knows how to print.
func plainArgs(args []any) []any {
	plain := make([]any, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case hclog.Format:
			plain[i] = fmt.Sprintf(v[0].(string), v[1:]...)
		case fmt.Stringer:
			plain[i] = v.String()
		default:
			plain[i] = a
		}
	}
	return plain
}
