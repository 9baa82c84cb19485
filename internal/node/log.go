package node

import (
	"fmt"
	"io"
	"log/slog"
)

// The forms of a log line.
const (
	logFormatText = "text" // key=value, for people
	logFormatJSON = "json" // an object, for collectors
)

// newLogger makes the one logger of a node. Parts of it add what they are.
func newLogger(c Config, logs io.Writer) (*slog.Logger, error) {
	level, err := parseLevel(c.LogLevel)
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler
	switch c.LogFormat {
	case logFormatText, "":
		handler = slog.NewTextHandler(logs, options)
	case logFormatJSON:
		handler = slog.NewJSONHandler(logs, options)
	default:
		return nil, fmt.Errorf("--log-format %q: use %s or %s", c.LogFormat, logFormatText, logFormatJSON)
	}
	return slog.New(handler).With("node", c.Name), nil
}

func parseLevel(text string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return level, fmt.Errorf("--log-level %q: use debug, info, warn or error", text)
	}
	return level, nil
}
