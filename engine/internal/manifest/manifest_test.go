package manifest

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

func example() *State {
	return &State{
		NextFile: 300, LastSequence: 70000, LastVersion: 1 << 60, Floor: 5, Unordered: true,
		PositionIndex: 12345, PositionTerm: 3, HorizonVersion: 1 << 59, HorizonExpiry: 1_700_000_000_000,
		LastBatch: 5000, LogSegment: 9, LogUsed: true,
		Tables: []Table{{0, 299, 1 << 20}, {0, 7, 4096}, {6, 130, 16 << 20}},
	}
}

func TestFormatIsThatOfTheDocument(t *testing.T) {
	want := testkit.Golden(t, "manifest.hex")
	if got := example().Encode(); !bytes.Equal(got, want) {
		t.Fatalf("encodes as\n%x\nwant\n%x", got, want)
	}
	got, err := Decode(want)
	if err != nil || !reflect.DeepEqual(got, example()) {
		t.Fatalf("decodes as %+v, %v", got, err)
	}
}

func TestEveryFlipAndCutIsDetected(t *testing.T) {
	good := example().Encode()
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := Decode(bad); !errors.Is(err, corrupt.Err) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for n := range good {
		if _, err := Decode(good[:n]); !errors.Is(err, corrupt.Err) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
}

func TestStoredStateIsLoaded(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(fs, "d"); s != nil || err != nil {
		t.Fatal(s, err)
	}
	if err := Store(fs, "d", example()); err != nil {
		t.Fatal(err)
	}
	crashed := fs.CrashClone(vfs.CrashOptions{})
	if s, err := Load(crashed, "d"); err != nil || !reflect.DeepEqual(s, example()) {
		t.Fatal(s, err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(example().Encode())
	f.Add((&State{NextFile: 1}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, input := range [][]byte{b, withSum(b)} {
			s, err := Decode(input)
			if err != nil {
				if !errors.Is(err, corrupt.Err) {
					t.Fatal(err)
				}
				continue
			}
			again, err := Decode(s.Encode())
			if err != nil || !reflect.DeepEqual(s, again) {
				t.Fatalf("%+v becomes %+v, %v", s, again, err)
			}
		}
	})
}
