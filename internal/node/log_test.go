package node

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

func TestLogsAreTextOrJSON(t *testing.T) {
	for format, check := range map[string]func(line string) bool{
		"text": func(line string) bool { return strings.Contains(line, `msg=hello node=n count=1`) },
		"json": func(line string) bool {
			var got map[string]any
			return json.Unmarshal([]byte(line), &got) == nil && got["msg"] == "hello" && got["node"] == "n" && got["count"] == 1.0
		},
	} {
		var out bytes.Buffer
		logger, err := newLogger(Config{Name: "n", LogLevel: "info", LogFormat: format}, &out)
		if err != nil {
			t.Fatal(err)
		}
		logger.Debug("not this")
		logger.Info("hello", "count", 1)
		if line := out.String(); strings.Count(line, "\n") != 1 || !check(line) {
			t.Errorf("%s: got %q", format, line)
		}
	}
	if _, err := newLogger(Config{LogLevel: "info", LogFormat: "xml"}, io.Discard); err == nil {
		t.Error("xml is taken")
	}
	if _, err := LoadConfig([]string{"--data-dir", "/d", "--log-format", "xml"}, noEnv); ExitCode(err) != ExitConfig {
		t.Errorf("got %v", err)
	}
}
