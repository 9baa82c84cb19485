package parts

import (
	"bytes"
	"testing"

	"github.com/lightning-db/lightning/api"
)

func example() staging {
	return staging{id: api.VersionAt(1_790_000_000_123), deadlineMillis: 1_790_000_001_000, parts: []staged{
		{0, api.MaxPartBytes, 0x11223344}, {2, 1, 5},
	}}
}

func TestARequestsRowComesBackAndDamagedOnesDoNot(t *testing.T) {
	s := example()
	row := s.encode()
	back, err := decodeStaging(row)
	if err != nil || !bytes.Equal(back.encode(), row) || back.bytes() != api.MaxPartBytes+1 {
		t.Errorf("%+v, %v", back, err)
	}
	twice := staging{parts: []staged{{1, 1, 1}, {1, 1, 1}}}
	for name, row := range map[string][]byte{
		"empty": nil, "cut": row[:len(row)-1], "other format": append([]byte{9}, row[1:]...), "a part twice": twice.encode(),
		"far part": (&staging{parts: []staged{{api.MaxBatchParts, 1, 1}}}).encode(), "empty part": (&staging{parts: []staged{{1, 0, 1}}}).encode(),
	} {
		if _, err := decodeStaging(row); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

func TestOnlyTheBytesThatAreMeantAreThere(t *testing.T) { // LV1
	value := bytes.Repeat([]byte("value"), api.MaxPartBytes/2)
	want := api.PartsOf(value, 3)
	var s staging
	for n := range want.Count {
		if s.has(want) {
			t.Fatalf("with %d of %d parts", n, want.Count)
		}
		part := api.Part(value, n)
		s.parts = append(s.parts, staged{3 + n, uint32(len(part)), api.PartSum(part)})
	}
	if !s.has(want) {
		t.Error("all are there")
	}
	s.parts[1].sum++
	if s.has(want) {
		t.Error("with other bytes")
	}
}

func FuzzDecodeStaging(f *testing.F) {
	s := example()
	f.Add(s.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, row []byte) {
		if s, err := decodeStaging(row); err == nil && !bytes.Equal(s.encode(), row) {
			t.Fatalf("%x does not come back", row)
		}
	})
}
