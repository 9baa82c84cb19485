package membership

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
)

// TestStrangersDoNotFillTheLog: each packet that does not decrypt is a line, and anybody can send them.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	var out bytes.Buffer
	c := clock.NewManual(time.UnixMilli(1))
	l := newLog(slog.New(slog.NewTextHandler(&out, nil)), c)
	for range 100 * maxLogLines {
		l.Printf("[ERR] memberlist: Decrypt packet failed: no installed keys could decrypt the message")
	}
	if n := strings.Count(out.String(), "\n"); n != maxLogLines {
		t.Fatalf("%d lines in a moment", n)
	}
	out.Reset()
	c.Advance(logWindow)
	l.Printf("[WARN] memberlist: Got ping for unexpected node")
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "lines=990") || !strings.Contains(got, "unexpected node") {
		t.Fatal(got)
	}
}
