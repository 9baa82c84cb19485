package testkit

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

// Golden reads a file of hex with notes from testdata/format: everything behind a # is one.
func Golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/format/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		data, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(data), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}
