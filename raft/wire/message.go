package wire

import (
	"encoding/binary"
	"fmt"

	hraft "github.com/hashicorp/raft"
)

// The payloads of the Raft messages. All integers are uvarints unless stated. The library's
// RPC header is not sent: its identity is the frame's from, its version the first field.

func header(version uint64, from string) hraft.RPCHeader {
	return hraft.RPCHeader{
		ProtocolVersion: hraft.ProtocolVersion(version), ID: []byte(from), Addr: []byte(from),
	}
}

// AppendVersion begins every message.
func AppendVersion(b []byte, h hraft.RPCHeader) []byte {
	return binary.AppendUvarint(b, uint64(h.ProtocolVersion))
}

// AppendBool appends what Decoder.Bool reads.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// EntryOverheadBytes bounds what an entry takes besides its data.
const EntryOverheadBytes = 3*binary.MaxVarintLen64 + 1

// EncodeAppendEntries encodes a request.
func EncodeAppendEntries(r *hraft.AppendEntriesRequest) []byte {
	size := 6 * binary.MaxVarintLen64
	for _, e := range r.Entries {
		size += EntryOverheadBytes + len(e.Data)
	}
	b := AppendVersion(make([]byte, 0, size), r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.PrevLogEntry)
	b = binary.AppendUvarint(b, r.PrevLogTerm)
	b = binary.AppendUvarint(b, r.LeaderCommitIndex)
	b = binary.AppendUvarint(b, uint64(len(r.Entries)))
	for _, e := range r.Entries {
		b = binary.AppendUvarint(b, e.Index)
		b = binary.AppendUvarint(b, e.Term)
		b = append(b, byte(e.Type))
		b = AppendField(b, e.Data)
	}
	return b
}

// decodeAppendEntries aliases b in the entries' data.
func decodeAppendEntries(b []byte, from string) (*hraft.AppendEntriesRequest, error) {
	d := Decoder{Rest: b}
	r := &hraft.AppendEntriesRequest{RPCHeader: header(d.Uvarint(), from)}
	r.Term, r.PrevLogEntry, r.PrevLogTerm, r.LeaderCommitIndex = d.Uvarint(), d.Uvarint(), d.Uvarint(), d.Uvarint()
	count := d.Uvarint()
	if d.Bad || count > uint64(len(d.Rest)) { // an entry takes more than a byte
		return nil, ErrMalformed
	}
	r.Entries = make([]*hraft.Log, 0, count)
	for range count {
		e := &hraft.Log{Index: d.Uvarint(), Term: d.Uvarint(), Type: hraft.LogType(d.Byte())}
		e.Data = d.Field()
		r.Entries = append(r.Entries, e)
	}
	return r, d.End()
}

// EncodeAppendEntriesResponse encodes its answer.
func EncodeAppendEntriesResponse(r *hraft.AppendEntriesResponse) []byte {
	b := AppendVersion(nil, r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLog)
	b = AppendBool(b, r.Success)
	return AppendBool(b, r.NoRetryBackoff)
}

// DecodeAppendEntriesResponse decodes it into r, which is unchanged after an error.
func DecodeAppendEntriesResponse(b []byte, from string, r *hraft.AppendEntriesResponse) error {
	d := Decoder{Rest: b}
	got := hraft.AppendEntriesResponse{RPCHeader: header(d.Uvarint(), from)}
	got.Term, got.LastLog = d.Uvarint(), d.Uvarint()
	got.Success, got.NoRetryBackoff = d.Bool(), d.Bool()
	if err := d.End(); err != nil {
		return err
	}
	*r = got
	return nil
}

// EncodeRequestVote encodes a request.
func EncodeRequestVote(r *hraft.RequestVoteRequest) []byte {
	b := AppendVersion(nil, r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLogIndex)
	b = binary.AppendUvarint(b, r.LastLogTerm)
	return AppendBool(b, r.LeadershipTransfer)
}

func decodeRequestVote(b []byte, from string) (*hraft.RequestVoteRequest, error) {
	d := Decoder{Rest: b}
	r := &hraft.RequestVoteRequest{RPCHeader: header(d.Uvarint(), from)}
	r.Term, r.LastLogIndex, r.LastLogTerm = d.Uvarint(), d.Uvarint(), d.Uvarint()
	r.LeadershipTransfer = d.Bool()
	return r, d.End()
}

// EncodePreVote encodes a request.
func EncodePreVote(r *hraft.RequestPreVoteRequest) []byte {
	b := AppendVersion(nil, r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLogIndex)
	return binary.AppendUvarint(b, r.LastLogTerm)
}

func decodePreVote(b []byte, from string) (*hraft.RequestPreVoteRequest, error) {
	d := Decoder{Rest: b}
	r := &hraft.RequestPreVoteRequest{RPCHeader: header(d.Uvarint(), from)}
	r.Term, r.LastLogIndex, r.LastLogTerm = d.Uvarint(), d.Uvarint(), d.Uvarint()
	return r, d.End()
}

// encodeGrant encodes the answers to both kinds of vote and to a snapshot: a term and a yes or no.
func encodeGrant(h hraft.RPCHeader, term uint64, granted bool) []byte {
	b := AppendVersion(nil, h)
	b = binary.AppendUvarint(b, term)
	return AppendBool(b, granted)
}

// DecodeGrant decodes what encodeGrant encoded.
func DecodeGrant(b []byte, from string) (h hraft.RPCHeader, term uint64, granted bool, err error) {
	d := Decoder{Rest: b}
	h, term, granted = header(d.Uvarint(), from), d.Uvarint(), d.Bool()
	return h, term, granted, d.End()
}

// EncodeInstall encodes the request that begins a snapshot.
func EncodeInstall(r *hraft.InstallSnapshotRequest) []byte {
	b := AppendVersion(nil, r.RPCHeader)
	b = binary.AppendUvarint(b, uint64(r.SnapshotVersion))
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLogIndex)
	b = binary.AppendUvarint(b, r.LastLogTerm)
	b = binary.AppendUvarint(b, r.ConfigurationIndex)
	b = binary.AppendUvarint(b, uint64(r.Size))
	return AppendField(b, r.Configuration)
}

// DecodeInstall decodes it.
func DecodeInstall(b []byte, from string) (*hraft.InstallSnapshotRequest, error) {
	d := Decoder{Rest: b}
	r := &hraft.InstallSnapshotRequest{RPCHeader: header(d.Uvarint(), from)}
	r.SnapshotVersion = hraft.SnapshotVersion(d.Uvarint())
	r.Term, r.LastLogIndex, r.LastLogTerm, r.ConfigurationIndex = d.Uvarint(), d.Uvarint(), d.Uvarint(), d.Uvarint()
	r.Size = int64(d.Uvarint())
	r.Configuration = d.Field()
	if d.Bad || r.Size < 0 {
		return nil, ErrMalformed
	}
	return r, d.End()
}

// EncodeProbeAnswer encodes the answer to a probe frame: the wall clock of the node that answers,
// in milliseconds since the Unix epoch, and a yes or no for each probe.
func EncodeProbeAnswer(clockMillis uint64, granted []bool) []byte {
	b := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+len(granted)), clockMillis)
	for _, g := range granted {
		b = AppendBool(b, g)
	}
	return b
}

// DecodeProbeAnswer decodes the answer to count probes.
func DecodeProbeAnswer(b []byte, count int) (clockMillis uint64, granted []bool, err error) {
	d := Decoder{Rest: b}
	clockMillis = d.Uvarint()
	if d.Bad || len(d.Rest) != count {
		return 0, nil, ErrMalformed
	}
	granted = make([]bool, count)
	for i := range granted {
		granted[i] = d.Bool()
	}
	return clockMillis, granted, d.End()
}

// DecodeRequest decodes the payload of a request by its kind into what the library expects.
func DecodeRequest(f *Frame) (any, error) {
	switch f.Kind {
	case KindAppendEntries:
		return decodeAppendEntries(f.Payload, f.From)
	case KindRequestVote:
		return decodeRequestVote(f.Payload, f.From)
	case KindPreVote:
		return decodePreVote(f.Payload, f.From)
	case KindTimeoutNow:
		d := Decoder{Rest: f.Payload}
		return &hraft.TimeoutNowRequest{RPCHeader: header(d.Uvarint(), f.From)}, d.End()
	default:
		return nil, fmt.Errorf("raft frame: kind %d is not a request", f.Kind)
	}
}

// EncodeResponse encodes what the library answered.
func EncodeResponse(response any) ([]byte, error) {
	switch r := response.(type) {
	case *hraft.AppendEntriesResponse:
		return EncodeAppendEntriesResponse(r), nil
	case *hraft.RequestVoteResponse:
		return encodeGrant(r.RPCHeader, r.Term, r.Granted), nil
	case *hraft.RequestPreVoteResponse:
		return encodeGrant(r.RPCHeader, r.Term, r.Granted), nil
	case *hraft.InstallSnapshotResponse:
		return encodeGrant(r.RPCHeader, r.Term, r.Success), nil
	case *hraft.TimeoutNowResponse:
		return nil, nil
	default:
		return nil, fmt.Errorf("raft frame: no encoding for the answer %T", response)
	}
}
