package sharedlog

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func goldenRecords() []record {
	return []record{
		{kind: kindCreate, group: 3, incarnation: 1},
		{kind: kindStable, group: 3, incarnation: 1, payload: stablePayload(nil, keyVote, []byte("\x02\x00\x00\x00\x00\x00\x00\x00n1#1"))},
		{kind: kindEntry, entryType: 0, group: 3, incarnation: 1, index: 7, term: 2, payload: []byte("command")},
		{kind: kindCutSuffix, group: 3, incarnation: 1, index: 7},
		{kind: kindCutPrefix, group: 3, incarnation: 1, index: 5},
		{kind: kindDrop, group: 3, incarnation: 1},
		{kind: kindOldest, index: 4},
		{kind: kindEnd},
		{kind: kindSeal, index: 5, term: 0x1122334455667788},
	}
}

// TestTheFormatIsTheDocumentedOne compares with testdata/format/segment.hex: hex digits, notes
// behind '#'. With LIGHTNING_REWRITE=1 it writes the file instead.
func TestTheFormatIsTheDocumentedOne(t *testing.T) {
	id := identity{id: 0x0102030405060708}
	copy(id.uuid[:], "0123456789abcdef")
	var text strings.Builder
	var want []byte
	dump := func(note string, b []byte) {
		want = append(want, b...)
		text.WriteString("# " + note + "\n")
		for i := 0; i < len(b); i += 16 {
			text.WriteString(hex.EncodeToString(b[i:min(i+16, len(b))]) + "\n")
		}
	}
	dump("segment header: sequence 4", encodeSegmentHeader(4, &id))
	names := []string{"", "entry", "cut suffix", "cut prefix", "stable: a vote", "create", "drop", "oldest", "seal", "end"}
	offset, batch := int64(dataStart), int64(dataStart)
	for i, r := range goldenRecords() {
		if i == 3 {
			batch = offset // the first three are one batch
		}
		b := id.appendRecord(nil, offset, batch, &r)
		h, ok := id.decodeHeader(b, offset, offset+int64(len(b)))
		if !ok || h.kind != r.kind || h.batch != batch || h.group != r.group || h.incarnation != r.incarnation ||
			h.index != r.index || h.term != r.term || int(h.length) != len(r.payload) || h.entryType != r.entryType {
			t.Fatalf("%+v decodes to %+v", r, h)
		}
		dump(names[r.kind], b)
		offset += int64(len(b))
	}
	path := filepath.Join("testdata", "format", "segment.hex")
	if os.Getenv("LIGHTNING_REWRITE") == "1" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(golden)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.TrimSpace(line))
	}
	got, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the format has changed; it is now\n%s", text.String())
	}
}

// TestARecordIsValidInItsPlaceOnly (LG2).
func TestARecordIsValidInItsPlaceOnly(t *testing.T) {
	id := identity{id: 1, uuid: [16]byte{2}}
	r := record{kind: kindEntry, group: 1, incarnation: 1, index: 1, term: 1, payload: []byte("x")}
	b := id.appendRecord(nil, dataStart, dataStart, &r)
	const limit = 1 << 20
	if _, ok := id.decodeHeader(b, dataStart, limit); !ok {
		t.Fatal("not valid where it was written")
	}
	for name, try := range map[string]func() bool{
		"another offset": func() bool { _, ok := id.decodeHeader(b, dataStart+8, limit); return ok },
		"another id": func() bool {
			other := identity{id: 3, uuid: id.uuid}
			_, ok := other.decodeHeader(b, dataStart, limit)
			return ok
		},
		"another file": func() bool {
			other := identity{id: 1, uuid: [16]byte{3}}
			_, ok := other.decodeHeader(b, dataStart, limit)
			return ok
		},
		"a shorter file": func() bool { _, ok := id.decodeHeader(b, dataStart, dataStart+70); return ok },
	} {
		if try() {
			t.Errorf("valid in %s", name)
		}
	}
	if _, _, err := decodeSegmentHeader(encodeSegmentHeader(1, &id)[:20]); err == nil {
		t.Error("a short segment header is valid")
	}
	newer := encodeSegmentHeader(1, &id)
	newer[8] = formatVersion + 1
	if _, _, err := decodeSegmentHeader(newer); err == nil {
		t.Error("a changed segment header is valid")
	}
}
