package membership

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
)

// newLog is the log.Logger that memberlist wants, over slog.
func newLog(l *slog.Logger, c clock.Clock) *log.Logger {
	return log.New(&logWriter{logger: l, clock: c}, "", 0)
}

// Whoever reaches the port can cause lines, so no more than maxLogLines are written in a logWindow;
// how many there were beyond is told with the next one.
const (
	maxLogLines = 10
	logWindow   = time.Second
)

// logWriter is called by one goroutine at a time, which log.Logger sees to.
type logWriter struct {
	logger  *slog.Logger
	clock   clock.Clock
	began   time.Time // the window
	written int       // in it
	dropped int       // since the last line
}

// levels maps memberlist's prefixes. What it calls an error is a peer's or a stranger's packet that
// failed, which is nothing wrong with this node.
var levels = []struct {
	prefix string
	level  slog.Level
}{
	{"[DEBUG] ", slog.LevelDebug},
	{"[INFO] ", slog.LevelInfo},
	{"[WARN] ", slog.LevelWarn},
	{"[ERR] ", slog.LevelWarn},
}

// Write implements io.Writer: one call is one line.
func (w *logWriter) Write(line []byte) (int, error) {
	text, level := bytes.TrimSpace(line), slog.LevelInfo
	for _, l := range levels {
		if rest, ok := bytes.CutPrefix(text, []byte(l.prefix)); ok {
			text, level = rest, l.level
			break
		}
	}
	if w.logger.Enabled(context.Background(), level) && w.admit() {
		w.logger.Log(context.Background(), level, "gossip: "+string(bytes.TrimPrefix(text, []byte("memberlist: "))))
	}
	return len(line), nil
}

// admit reports whether one more line may be written.
func (w *logWriter) admit() bool {
	now := w.clock.Now()
	if age := now.Sub(w.began); age < 0 || age >= logWindow {
		w.began, w.written = now, 0
	}
	if w.written == maxLogLines {
		w.dropped++
		return false
	}
	w.written++
	if w.dropped > 0 {
		w.logger.Warn("gossip: lines were left out, there were too many", "lines", w.dropped)
		w.dropped = 0
	}
	return true
}
