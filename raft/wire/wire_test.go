package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	hraft "github.com/hashicorp/raft"
)

var rewrite = flag.Bool("rewrite", false, "write the goldens instead of comparing")

var sampleHeader = hraft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1#1"), Addr: []byte("n1#1")}

// answerHeader names nobody: who is asked is known by the sequence number.
var answerHeader = hraft.RPCHeader{ProtocolVersion: 3}

// samples are the goldens' messages: payload, kind, and how an answer is decoded.
var samples = []struct {
	name    string
	kind    Kind
	payload []byte
}{
	{"append-entries", KindAppendEntries, AppendAppendEntries(nil, &hraft.AppendEntriesRequest{
		RPCHeader: sampleHeader, Term: 5, PrevLogEntry: 299, PrevLogTerm: 4, LeaderCommitIndex: 298,
		Entries: []*hraft.Log{
			{Index: 300, Term: 5, Type: hraft.LogNoop, Data: []byte{}},
			{Index: 301, Term: 5, Type: hraft.LogCommand, Data: []byte("put")},
		},
	})},
	{"request-vote", KindRequestVote, EncodeRequestVote(&hraft.RequestVoteRequest{
		RPCHeader: sampleHeader, Term: 6, LastLogIndex: 301, LastLogTerm: 5, LeadershipTransfer: true,
	})},
	{"pre-vote", KindPreVote, EncodePreVote(&hraft.RequestPreVoteRequest{RPCHeader: sampleHeader, Term: 6, LastLogIndex: 301, LastLogTerm: 5})},
	{"timeout-now", KindTimeoutNow, AppendVersion(nil, sampleHeader)},
	{"beats", KindBeats, AppendBeat(AppendBeat(nil, &Beat{Group: 7, Term: 5, From: []byte("n1#1"), To: []byte("n2#300")}),
		&Beat{Group: 300, Term: 2, From: []byte("n1#1"), To: []byte("n2#2")})},
	{"install", KindInstall, EncodeInstall(&hraft.InstallSnapshotRequest{
		RPCHeader: sampleHeader, SnapshotVersion: 1, Term: 6, LastLogIndex: 301, LastLogTerm: 5,
		Configuration: []byte("members"), ConfigurationIndex: 1, Size: 1 << 20,
	})},
}

func sampleFrame(kind Kind, payload []byte) *Frame {
	return &Frame{Kind: kind, Group: 7, Sequence: 1000, From: []byte("n1#1"), To: []byte("n2#300"), Payload: payload}
}

// golden compares b with testdata/format/name.hex: hex digits, notes behind '#'.
func golden(t *testing.T, name string, b []byte) {
	t.Helper()
	path := filepath.Join("testdata", "format", name+".hex")
	if *rewrite {
		var text strings.Builder
		for i := 0; i < len(b); i += 16 {
			text.WriteString(hex.EncodeToString(b[i:min(i+16, len(b))]) + "\n")
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	want, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s is encoded as\n%x\nthe format says\n%x", name, b, want)
	}
}

func TestBatchesAreEncodedAsTheFormatSays(t *testing.T) {
	two := BeginBatch(nil)
	for _, s := range samples {
		golden(t, s.name, EncodeBatch(sampleFrame(s.kind, s.payload)))
		if s.kind == KindRequestVote || s.kind == KindTimeoutNow {
			two = AppendFrame(two, sampleFrame(s.kind, s.payload))
		}
	}
	SealBatch(two)
	golden(t, "two-frames", two)
	answer := func(name string, kind Kind, payload []byte, err error) {
		f := Answer(kind, 7, 1000, payload, err)
		golden(t, name, EncodeBatch(&f))
	}
	payload, err := AppendResponse(nil, &hraft.AppendEntriesResponse{RPCHeader: sampleHeader, Term: 5, LastLog: 301, Success: true})
	if err != nil {
		t.Fatal(err)
	}
	answer("append-entries-answer", KindAppendEntries, payload, nil)
	answer("probe-answer", KindProbe, EncodeProbeAnswer(1_790_000_000_123, []bool{true, false, true}), nil)
	answer("error-answer", KindAppendEntries, nil, errors.New("not here"))
	beats := Answer(KindBeats, 0, 1000, AppendBeatAnswer(AppendBeatAnswer(nil, BeatAnswer{Slot: 1, Status: BeatYes, Term: 2, LastLog: 301, Commit: 300}), BeatAnswer{}), nil)
	beats.SetMore()
	golden(t, "beats-answer", EncodeBatch(&beats))
}

func TestRequestsAreReadBackAsTheyWere(t *testing.T) {
	from := []byte("n1#1")
	for _, s := range samples {
		f, err := DecodeBatch(EncodeBatch(sampleFrame(s.kind, s.payload)))
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if want := *sampleFrame(s.kind, s.payload); !reflect.DeepEqual(f, want) {
			t.Fatalf("%s: frame %+v, want %+v", s.name, f, want)
		}
		switch s.kind {
		case KindInstall:
			r, err := DecodeInstall(f.Payload, from)
			if err != nil || !bytes.Equal(EncodeInstall(r), s.payload) || string(r.Addr) != "n1#1" {
				t.Fatalf("%s: %+v, %v", s.name, r, err)
			}
			continue
		case KindBeats:
			d := Decoder{Rest: f.Payload}
			first, second := d.Beat(), d.Beat()
			if err := d.End(); err != nil || !bytes.Equal(AppendBeat(AppendBeat(nil, &first), &second), s.payload) {
				t.Fatalf("%s: %+v %+v, %v", s.name, first, second, err)
			}
			continue
		}
		r, err := DecodeRequest(f.Kind, f.Payload, from)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if again := encodeRequest(t, r); !bytes.Equal(again, s.payload) {
			t.Fatalf("%s: %+v encodes to %x, want %x", s.name, r, again, s.payload)
		}
		if h := r.(hraft.WithRPCHeader).GetRPCHeader(); !reflect.DeepEqual(h, sampleHeader) {
			t.Fatalf("%s: header %+v", s.name, h)
		}
	}
}

// TestARequestKeepsNothingOfItsBatch: the buffer is used again while the log holds the entries.
func TestARequestKeepsNothingOfItsBatch(t *testing.T) {
	for name, size := range map[string]int{"small": 100, "large": maxSharedBytes} {
		want := bytes.Repeat([]byte{7}, size)
		b := AppendAppendEntries(nil, &hraft.AppendEntriesRequest{Entries: []*hraft.Log{{Index: 1, Data: want}, {Index: 2, Data: want}}})
		r, err := DecodeRequest(KindAppendEntries, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		for _, e := range r.(*hraft.AppendEntriesRequest).Entries {
			if !bytes.Equal(e.Data, want) || cap(e.Data) > 2*size {
				t.Fatalf("%s: entry %d has changed, or keeps %d bytes", name, e.Index, cap(e.Data))
			}
		}
	}
}

func encodeRequest(t *testing.T, request any) []byte {
	t.Helper()
	switch r := request.(type) {
	case *hraft.AppendEntriesRequest:
		return AppendAppendEntries(nil, r)
	case *hraft.RequestVoteRequest:
		return EncodeRequestVote(r)
	case *hraft.RequestPreVoteRequest:
		return EncodePreVote(r)
	case *hraft.TimeoutNowRequest:
		return AppendVersion(nil, r.RPCHeader)
	default:
		t.Fatalf("decoded a %T", request)
		return nil
	}
}

func TestAnswersAreReadBackAsTheyWere(t *testing.T) {
	want := hraft.AppendEntriesResponse{RPCHeader: answerHeader, Term: 5, LastLog: 301, NoRetryBackoff: true}
	b, err := AppendResponse(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	var got hraft.AppendEntriesResponse
	if err := DecodeAppendEntriesResponse(b, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, r := range []any{
		&hraft.RequestVoteResponse{RPCHeader: sampleHeader, Term: 8, Granted: true},
		&hraft.RequestPreVoteResponse{RPCHeader: sampleHeader, Term: 8, Granted: true},
		&hraft.InstallSnapshotResponse{RPCHeader: sampleHeader, Term: 8, Success: true},
	} {
		b, err := AppendResponse(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		if h, term, granted, err := DecodeGrant(b); err != nil || term != 8 || !granted || !reflect.DeepEqual(h, answerHeader) {
			t.Fatalf("%T: %+v %d %v %v", r, h, term, granted, err)
		}
	}
	if _, err := AppendResponse(nil, "text"); err == nil {
		t.Fatal("encoded an answer that does not exist")
	}
}

func TestAProbeAnswerHasAClockAndOneByteForEachProbe(t *testing.T) {
	b := EncodeProbeAnswer(1_790_000_000_123, []bool{true, false})
	millis, granted, err := DecodeProbeAnswer(b, 2)
	if err != nil || millis != 1_790_000_000_123 || !reflect.DeepEqual(granted, []bool{true, false}) {
		t.Fatalf("%d %v %v", millis, granted, err)
	}
	for name, bad := range map[string][]byte{"short": b[:len(b)-1], "long": append(bytes.Clone(b), 1), "empty": nil, "not a bool": append(bytes.Clone(b[:len(b)-1]), 2)} {
		if _, _, err := DecodeProbeAnswer(bad, 2); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
}

// TestNoDamagedBatchIsDecoded (RM3) changes every bit of every sample, and cuts it everywhere.
func TestNoDamagedBatchIsDecoded(t *testing.T) {
	for _, s := range samples {
		b := EncodeBatch(sampleFrame(s.kind, s.payload))
		for i := range len(b) * 8 {
			damaged := bytes.Clone(b)
			damaged[i/8] ^= 1 << (i % 8)
			if _, err := OpenBatch(damaged); err == nil {
				t.Fatalf("%s: opened with bit %d changed", s.name, i)
			}
		}
		for i := range b {
			if _, err := OpenBatch(b[:i]); err == nil {
				t.Fatalf("%s: opened from %d of %d bytes", s.name, i, len(b))
			}
		}
	}
}

// FuzzBatch takes bytes for what follows a header that is right: any decode must encode to the same.
func FuzzBatch(f *testing.F) {
	for _, s := range samples {
		f.Add(EncodeBatch(sampleFrame(s.kind, s.payload))[batchHeaderBytes:])
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		b := append(BeginBatch(nil), rest...)
		SealBatch(b)
		frames, err := OpenBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		again := BeginBatch(nil)
		for {
			var frame Frame
			ok, err := frames.Next(&frame)
			if err != nil {
				return
			}
			if !ok {
				break
			}
			again = AppendFrame(again, &frame)
		}
		SealBatch(again)
		if !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}

func FuzzRequest(f *testing.F) {
	for _, s := range samples {
		f.Add(byte(s.kind), s.payload)
	}
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		from := []byte("n1#1")
		switch Kind(kind) {
		case KindInstall:
			if r, err := DecodeInstall(payload, from); err == nil && !bytes.Equal(EncodeInstall(r), payload) {
				t.Fatalf("%x decodes to %+v", payload, r)
			}
			return
		case KindBeats:
			var again []byte
			d := Decoder{Rest: payload}
			for len(d.Rest) > 0 && !d.Bad {
				b := d.Beat()
				again = AppendBeat(again, &b)
			}
			if !d.Bad && !bytes.Equal(again, payload) {
				t.Fatalf("%x encodes to %x", payload, again)
			}
			return
		}
		r, err := DecodeRequest(Kind(kind), payload, from)
		if err == nil && !bytes.Equal(encodeRequest(t, r), payload) {
			t.Fatalf("%x decodes to %+v", payload, r)
		}
	})
}

func FuzzBeatAnswers(f *testing.F) {
	f.Add(AppendBeatAnswer(nil, BeatAnswer{Slot: 1, Status: BeatYes, Term: 2, LastLog: 301, Commit: 300}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var again []byte
		d := Decoder{Rest: payload}
		for len(d.Rest) > 0 && !d.Bad {
			again = AppendBeatAnswer(again, d.BeatAnswer())
		}
		if !d.Bad && !bytes.Equal(again, payload) {
			t.Fatalf("%x encodes to %x", payload, again)
		}
	})
}
