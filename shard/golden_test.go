package shard

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readGolden reads testdata/format/name.hex: bytes in hex, and notes after '#'.
func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "format", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		bytesOnly, _, _ := strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(bytesOnly), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// checkGolden compares an encoding with what earlier builds wrote.
func checkGolden(t testing.TB, name string, got []byte) {
	t.Helper()
	if want := readGolden(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s: the encoding changed\n got %x\nwant %x", name, got, want)
	}
}
