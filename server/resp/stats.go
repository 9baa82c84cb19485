package resp

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/server/resp/wire"
)

// stats are what INFO counts.
type stats struct {
	accepted   atomic.Int64 // connections
	turnedAway atomic.Int64 // of these, for want of room
	unread     atomic.Int64 // of these, cut because their clients did not take replies in
	processed  atomic.Int64 // commands
	errors     atomic.Int64
	received   atomic.Int64 // bytes
	sent       atomic.Int64

	commands []commandStats // by command.index

	// mu is a leaf.
	mu struct {
		sync.Mutex
		prefixes map[string]int64 // errors by their first word
	}
}

type commandStats struct {
	calls, micros, rejected, failed atomic.Int64
}

func newStats() *stats {
	s := &stats{commands: make([]commandStats, len(byName))}
	s.mu.prefixes = make(map[string]int64)
	return s
}

// count counts one command. cmd is nil when there was none such.
func (s *stats) count(cmd *command, admitted bool, err error, took time.Duration) {
	if admitted {
		s.processed.Add(1)
	}
	if cmd != nil {
		of := &s.commands[cmd.index]
		switch {
		case !admitted:
			of.rejected.Add(1)
		default:
			of.calls.Add(1)
			of.micros.Add(took.Microseconds())
			if err != nil {
				of.failed.Add(1)
			}
		}
	}
	if err != nil {
		s.errors.Add(1)
		s.countPrefix(wire.ErrorText(err))
	}
}

// countPrefix counts an error by its first word. The words are those of the program, so there are few.
func (s *stats) countPrefix(text string) {
	prefix, _, _ := strings.Cut(text, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.prefixes[prefix]++
}

func (s *stats) reset() {
	for _, n := range []*atomic.Int64{&s.accepted, &s.turnedAway, &s.unread, &s.processed, &s.errors, &s.received, &s.sent} {
		n.Store(0)
	}
	for i := range s.commands {
		of := &s.commands[i]
		for _, n := range []*atomic.Int64{&of.calls, &of.micros, &of.rejected, &of.failed} {
			n.Store(0)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.mu.prefixes)
}

func infoCommandStats(b *strings.Builder, s *Server) {
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		of := &s.stats.commands[byName[name].index]
		calls, micros, rejected := of.calls.Load(), of.micros.Load(), of.rejected.Load()
		if calls+rejected == 0 {
			continue
		}
		each := float64(micros) / float64(max(calls, 1))
		line(b, "cmdstat_"+name, fmt.Sprintf("calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d", calls, micros, each, rejected, of.failed.Load()))
	}
}

func infoErrorStats(b *strings.Builder, s *Server) {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	for _, prefix := range slices.Sorted(maps.Keys(s.stats.mu.prefixes)) {
		line(b, "errorstat_"+prefix, fmt.Sprintf("count=%d", s.stats.mu.prefixes[prefix]))
	}
}
