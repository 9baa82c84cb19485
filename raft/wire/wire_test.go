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

// samples are the goldens' messages: payload, kind, and how an answer is decoded.
var samples = []struct {
	name    string
	kind    Kind
	payload []byte
}{
	{"append-entries", KindAppendEntries, EncodeAppendEntries(&hraft.AppendEntriesRequest{
		RPCHeader: sampleHeader, Term: 5, PrevLogEntry: 299, PrevLogTerm: 4, LeaderCommitIndex: 298,
		Entries: []*hraft.Log{
			{Index: 300, Term: 5, Type: hraft.LogNoop, Data: []byte{}},
			{Index: 301, Term: 5, Type: hraft.LogCommand, Data: []byte("put")},
		},
	})},
	{"heartbeat", KindAppendEntries, EncodeAppendEntries(&hraft.AppendEntriesRequest{RPCHeader: sampleHeader, Term: 5})},
	{"request-vote", KindRequestVote, EncodeRequestVote(&hraft.RequestVoteRequest{
		RPCHeader: sampleHeader, Term: 6, LastLogIndex: 301, LastLogTerm: 5, LeadershipTransfer: true,
	})},
	{"pre-vote", KindPreVote, EncodePreVote(&hraft.RequestPreVoteRequest{RPCHeader: sampleHeader, Term: 6, LastLogIndex: 301, LastLogTerm: 5})},
	{"timeout-now", KindTimeoutNow, AppendVersion(nil, sampleHeader)},
	{"install", KindInstall, EncodeInstall(&hraft.InstallSnapshotRequest{
		RPCHeader: sampleHeader, SnapshotVersion: 1, Term: 6, LastLogIndex: 301, LastLogTerm: 5,
		Configuration: []byte("members"), ConfigurationIndex: 1, Size: 1 << 20,
	})},
}

func sampleFrame(kind Kind, payload []byte) *Frame {
	return &Frame{Kind: kind, Group: 7, Sequence: 1000, From: "n1#1", To: "n2#300", Payload: payload}
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

func TestFramesAreEncodedAsTheFormatSays(t *testing.T) {
	for _, s := range samples {
		golden(t, s.name, sampleFrame(s.kind, s.payload).Encode())
	}
	asked := sampleFrame(KindAppendEntries, nil)
	payload, err := EncodeResponse(&hraft.AppendEntriesResponse{RPCHeader: sampleHeader, Term: 5, LastLog: 301, Success: true})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "append-entries-answer", asked.Answer(payload, nil).Encode())
	golden(t, "probe-answer", sampleFrame(KindProbe, nil).Answer(EncodeProbeAnswer(1_790_000_000_123, []bool{true, false, true}), nil).Encode())
	golden(t, "error-answer", asked.Answer(nil, errors.New("not here")).Encode())
}

func TestRequestsAreReadBackAsTheyWere(t *testing.T) {
	for _, s := range samples {
		f, err := DecodeFrame(sampleFrame(s.kind, s.payload).Encode())
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if want := *sampleFrame(s.kind, s.payload); !reflect.DeepEqual(f, want) {
			t.Fatalf("%s: frame %+v, want %+v", s.name, f, want)
		}
		if s.kind == KindInstall {
			r, err := DecodeInstall(f.Payload, f.From)
			if err != nil || !bytes.Equal(EncodeInstall(r), s.payload) || string(r.Addr) != "n1#1" {
				t.Fatalf("%s: %+v, %v", s.name, r, err)
			}
			continue
		}
		r, err := DecodeRequest(&f)
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

func encodeRequest(t *testing.T, request any) []byte {
	t.Helper()
	switch r := request.(type) {
	case *hraft.AppendEntriesRequest:
		return EncodeAppendEntries(r)
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
	want := hraft.AppendEntriesResponse{RPCHeader: sampleHeader, Term: 5, LastLog: 301, NoRetryBackoff: true}
	b, err := EncodeResponse(&want)
	if err != nil {
		t.Fatal(err)
	}
	var got hraft.AppendEntriesResponse
	if err := DecodeAppendEntriesResponse(b, "n1#1", &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, r := range []any{
		&hraft.RequestVoteResponse{RPCHeader: sampleHeader, Term: 8, Granted: true},
		&hraft.RequestPreVoteResponse{RPCHeader: sampleHeader, Term: 8, Granted: true},
		&hraft.InstallSnapshotResponse{RPCHeader: sampleHeader, Term: 8, Success: true},
	} {
		b, err := EncodeResponse(r)
		if err != nil {
			t.Fatal(err)
		}
		if h, term, granted, err := DecodeGrant(b, "n1#1"); err != nil || term != 8 || !granted || !reflect.DeepEqual(h, sampleHeader) {
			t.Fatalf("%T: %+v %d %v %v", r, h, term, granted, err)
		}
	}
	if _, err := EncodeResponse("text"); err == nil {
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

// TestNoDamagedFrameIsDecoded (R9) changes every bit of every sample, and cuts it everywhere.
func TestNoDamagedFrameIsDecoded(t *testing.T) {
	for _, s := range samples {
		b := sampleFrame(s.kind, s.payload).Encode()
		for i := range len(b) * 8 {
			damaged := bytes.Clone(b)
			damaged[i/8] ^= 1 << (i % 8)
			if _, err := DecodeFrame(damaged); err == nil {
				t.Fatalf("%s: decoded with bit %d changed", s.name, i)
			}
		}
		for i := range b {
			if _, err := DecodeFrame(b[:i]); err == nil {
				t.Fatalf("%s: decoded from %d of %d bytes", s.name, i, len(b))
			}
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range samples {
		f.Add(sampleFrame(s.kind, s.payload).Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := DecodeFrame(b)
		if err == nil && !bytes.Equal(frame.Encode(), b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, frame, frame.Encode())
		}
	})
}

func FuzzRequest(f *testing.F) {
	for _, s := range samples {
		f.Add(byte(s.kind), s.payload)
	}
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		if Kind(kind) == KindInstall {
			if r, err := DecodeInstall(payload, "n1#1"); err == nil && !bytes.Equal(EncodeInstall(r), payload) {
				t.Fatalf("%x decodes to %+v", payload, r)
			}
			return
		}
		r, err := DecodeRequest(&Frame{Kind: Kind(kind), From: "n1#1", Payload: payload})
		if err == nil && !bytes.Equal(encodeRequest(t, r), payload) {
			t.Fatalf("%x decodes to %+v", payload, r)
		}
	})
}
