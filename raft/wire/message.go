package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"

	hraft "github.com/hashicorp/raft"
)

// The payloads of the Raft messages. All integers are uvarints unless stated. The library's
// RPC header is not sent: its identity is the frame's from, its version the first field.

// header is the library's, of a message from a replica. Its bytes are from's.
func header(version uint64, from []byte) hraft.RPCHeader {
	return hraft.RPCHeader{ProtocolVersion: hraft.ProtocolVersion(version), ID: from, Addr: from}
}

// Header is the library's, of a heartbeat from a replica.
func Header(from []byte) hraft.RPCHeader { return header(hraft.ProtocolVersionMax, from) }

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

// AppendEntriesBytes bounds the encoded size of a request.
func AppendEntriesBytes(r *hraft.AppendEntriesRequest) int {
	size := 6 * binary.MaxVarintLen64
	for _, e := range r.Entries {
		size += EntryOverheadBytes + len(e.Data)
	}
	return size
}

// AppendAppendEntries encodes a request.
func AppendAppendEntries(b []byte, r *hraft.AppendEntriesRequest) []byte {
	b = AppendVersion(b, r.RPCHeader)
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

// maxSharedBytes: the data of the entries of one request share an allocation up to that size. They
// are neighbours in the log and leave its cache at about the same time; a larger one is not kept
// for the sake of a small entry in it.
const maxSharedBytes = 64 << 10

// decodeAppendEntries copies the entries' data: the log keeps it, and b is part of a batch whose
// buffer is used again.
func decodeAppendEntries(b, from []byte) (*hraft.AppendEntriesRequest, error) {
	d := Decoder{Rest: b}
	r := &hraft.AppendEntriesRequest{RPCHeader: header(d.Uvarint(), from)}
	r.Term, r.PrevLogEntry, r.PrevLogTerm, r.LeaderCommitIndex = d.Uvarint(), d.Uvarint(), d.Uvarint(), d.Uvarint()
	count := d.Uvarint()
	if d.Bad || count > uint64(len(d.Rest))/minEntryBytes {
		return nil, ErrMalformed
	}
	var shared []byte
	if len(d.Rest) <= maxSharedBytes {
		shared = make([]byte, 0, len(d.Rest)) // never grows: what is appended comes from Rest
	}
	entries := make([]hraft.Log, count)
	r.Entries = make([]*hraft.Log, count)
	for i := range entries {
		e := &entries[i]
		e.Index, e.Term, e.Type = d.Uvarint(), d.Uvarint(), hraft.LogType(d.Byte())
		data := d.Field()
		if shared != nil {
			at := len(shared)
			shared = append(shared, data...)
			e.Data = shared[at:len(shared):len(shared)]
		} else {
			e.Data = append(make([]byte, 0, len(data)), data...)
		}
		r.Entries[i] = e
	}
	return r, d.End()
}

// minEntryBytes is what an entry takes at least.
const minEntryBytes = 4

// AppendAppendEntriesResponse encodes its answer.
func AppendAppendEntriesResponse(b []byte, r *hraft.AppendEntriesResponse) []byte {
	b = AppendVersion(b, r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLog)
	b = AppendBool(b, r.Success)
	return AppendBool(b, r.NoRetryBackoff)
}

// DecodeAppendEntriesResponse decodes it into r, which is unchanged after an error.
func DecodeAppendEntriesResponse(b []byte, r *hraft.AppendEntriesResponse) error {
	d := Decoder{Rest: b}
	got := hraft.AppendEntriesResponse{RPCHeader: header(d.Uvarint(), nil)}
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

func decodeRequestVote(b, from []byte) (*hraft.RequestVoteRequest, error) {
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

func decodePreVote(b, from []byte) (*hraft.RequestPreVoteRequest, error) {
	d := Decoder{Rest: b}
	r := &hraft.RequestPreVoteRequest{RPCHeader: header(d.Uvarint(), from)}
	r.Term, r.LastLogIndex, r.LastLogTerm = d.Uvarint(), d.Uvarint(), d.Uvarint()
	return r, d.End()
}

// appendGrant encodes the answers to both kinds of vote and to a snapshot: a term and a yes or no.
func appendGrant(b []byte, h hraft.RPCHeader, term uint64, granted bool) []byte {
	b = AppendVersion(b, h)
	b = binary.AppendUvarint(b, term)
	return AppendBool(b, granted)
}

// DecodeGrant decodes what appendGrant encoded.
func DecodeGrant(b []byte) (h hraft.RPCHeader, term uint64, granted bool, err error) {
	d := Decoder{Rest: b}
	h, term, granted = header(d.Uvarint(), nil), d.Uvarint(), d.Bool()
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
func DecodeInstall(b, from []byte) (*hraft.InstallSnapshotRequest, error) {
	d := Decoder{Rest: b}
	r := &hraft.InstallSnapshotRequest{RPCHeader: header(d.Uvarint(), from)}
	r.SnapshotVersion = hraft.SnapshotVersion(d.Uvarint())
	r.Term, r.LastLogIndex, r.LastLogTerm, r.ConfigurationIndex = d.Uvarint(), d.Uvarint(), d.Uvarint(), d.Uvarint()
	r.Size = int64(d.Uvarint())
	r.Configuration = bytes.Clone(d.Field())
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

// DecodeRequest decodes the payload of a request by its kind into what the library expects. The result
// keeps from and nothing else of what it is given.
func DecodeRequest(kind Kind, payload, from []byte) (any, error) {
	switch kind {
	case KindAppendEntries:
		return decodeAppendEntries(payload, from)
	case KindRequestVote:
		return decodeRequestVote(payload, from)
	case KindPreVote:
		return decodePreVote(payload, from)
	case KindTimeoutNow:
		d := Decoder{Rest: payload}
		return &hraft.TimeoutNowRequest{RPCHeader: header(d.Uvarint(), from)}, d.End()
	default:
		return nil, fmt.Errorf("raft frame: kind %d is not a request", kind)
	}
}

// AppendResponse encodes what the library answered.
func AppendResponse(b []byte, response any) ([]byte, error) {
	switch r := response.(type) {
	case *hraft.AppendEntriesResponse:
		return AppendAppendEntriesResponse(b, r), nil
	case *hraft.RequestVoteResponse:
		return appendGrant(b, r.RPCHeader, r.Term, r.Granted), nil
	case *hraft.RequestPreVoteResponse:
		return appendGrant(b, r.RPCHeader, r.Term, r.Granted), nil
	case *hraft.InstallSnapshotResponse:
		return appendGrant(b, r.RPCHeader, r.Term, r.Success), nil
	case *hraft.TimeoutNowResponse:
		return b, nil
	default:
		return nil, fmt.Errorf("raft frame: no encoding for the answer %T", response)
	}
}
