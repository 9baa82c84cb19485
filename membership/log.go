package membership

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// newLog is the log.Logger that memberlist wants, over slog.
func newLog(l *slog.Logger) *log.Logger { return log.New(logWriter{l}, "", 0) }

type logWriter struct{ logger *slog.Logger }

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
func (w logWriter) Write(line []byte) (int, error) {
	text, level := bytes.TrimSpace(line), slog.LevelInfo
	for _, l := range levels {
		if rest, ok := bytes.CutPrefix(text, []byte(l.prefix)); ok {
			text, level = rest, l.level
			break
		}
	}
	w.logger.Log(context.Background(), level, "gossip: "+string(bytes.TrimPrefix(text, []byte("memberlist: "))))
	return len(line), nil
}
