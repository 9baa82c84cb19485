package raft

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

func appendVersion(b []byte, h hraft.RPCHeader) []byte {
	return binary.AppendUvarint(b, uint64(h.ProtocolVersion))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

const entryOverheadBytes = 3*binary.MaxVarintLen64 + 1

func encodeAppendEntries(r *hraft.AppendEntriesRequest) []byte {
	size := 6 * binary.MaxVarintLen64
	for _, e := range r.Entries {
		size += entryOverheadBytes + len(e.Data)
	}
	b := appendVersion(make([]byte, 0, size), r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.PrevLogEntry)
	b = binary.AppendUvarint(b, r.PrevLogTerm)
	b = binary.AppendUvarint(b, r.LeaderCommitIndex)
	b = binary.AppendUvarint(b, uint64(len(r.Entries)))
	for _, e := range r.Entries {
		b = binary.AppendUvarint(b, e.Index)
		b = binary.AppendUvarint(b, e.Term)
		b = append(b, byte(e.Type))
		b = appendField(b, e.Data)
	}
	return b
}

// decodeAppendEntries aliases b in the entries' data.
func decodeAppendEntries(b []byte, from string) (*hraft.AppendEntriesRequest, error) {
	d := decoder{rest: b}
	r := &hraft.AppendEntriesRequest{RPCHeader: header(d.uvarint(), from), Leader: []byte(from)}
	r.Term, r.PrevLogEntry, r.PrevLogTerm, r.LeaderCommitIndex = d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	count := d.uvarint()
	if d.bad || count > uint64(len(d.rest)) { // an entry takes more than a byte
		return nil, errFrameMalformed
	}
	r.Entries = make([]*hraft.Log, 0, count)
	for range count {
		e := &hraft.Log{Index: d.uvarint(), Term: d.uvarint(), Type: hraft.LogType(d.byte())}
		e.Data = d.field()
		r.Entries = append(r.Entries, e)
	}
	return r, d.end()
}

func encodeAppendEntriesResponse(r *hraft.AppendEntriesResponse) []byte {
	b := appendVersion(nil, r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLog)
	b = appendBool(b, r.Success)
	return appendBool(b, r.NoRetryBackoff)
}

func decodeAppendEntriesResponse(b []byte, from string, r *hraft.AppendEntriesResponse) error {
	d := decoder{rest: b}
	got := hraft.AppendEntriesResponse{RPCHeader: header(d.uvarint(), from)}
	got.Term, got.LastLog = d.uvarint(), d.uvarint()
	got.Success, got.NoRetryBackoff = d.bool(), d.bool()
	if err := d.end(); err != nil {
		return err
	}
	*r = got
	return nil
}

func encodeRequestVote(r *hraft.RequestVoteRequest) []byte {
	b := appendVersion(nil, r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLogIndex)
	b = binary.AppendUvarint(b, r.LastLogTerm)
	return appendBool(b, r.LeadershipTransfer)
}

func decodeRequestVote(b []byte, from string) (*hraft.RequestVoteRequest, error) {
	d := decoder{rest: b}
	r := &hraft.RequestVoteRequest{RPCHeader: header(d.uvarint(), from), Candidate: []byte(from)}
	r.Term, r.LastLogIndex, r.LastLogTerm = d.uvarint(), d.uvarint(), d.uvarint()
	r.LeadershipTransfer = d.bool()
	return r, d.end()
}

func encodePreVote(r *hraft.RequestPreVoteRequest) []byte {
	b := appendVersion(nil, r.RPCHeader)
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLogIndex)
	return binary.AppendUvarint(b, r.LastLogTerm)
}

func decodePreVote(b []byte, from string) (*hraft.RequestPreVoteRequest, error) {
	d := decoder{rest: b}
	r := &hraft.RequestPreVoteRequest{RPCHeader: header(d.uvarint(), from)}
	r.Term, r.LastLogIndex, r.LastLogTerm = d.uvarint(), d.uvarint(), d.uvarint()
	return r, d.end()
}

// encodeGrant encodes the answers to both kinds of vote and to a snapshot: a term and a yes or no.
func encodeGrant(h hraft.RPCHeader, term uint64, granted bool) []byte {
	b := appendVersion(nil, h)
	b = binary.AppendUvarint(b, term)
	return appendBool(b, granted)
}

func decodeGrant(b []byte, from string) (h hraft.RPCHeader, term uint64, granted bool, err error) {
	d := decoder{rest: b}
	h, term, granted = header(d.uvarint(), from), d.uvarint(), d.bool()
	return h, term, granted, d.end()
}

func encodeInstall(r *hraft.InstallSnapshotRequest) []byte {
	b := appendVersion(nil, r.RPCHeader)
	b = binary.AppendUvarint(b, uint64(r.SnapshotVersion))
	b = binary.AppendUvarint(b, r.Term)
	b = binary.AppendUvarint(b, r.LastLogIndex)
	b = binary.AppendUvarint(b, r.LastLogTerm)
	b = binary.AppendUvarint(b, r.ConfigurationIndex)
	b = binary.AppendUvarint(b, uint64(r.Size))
	return appendField(b, r.Configuration)
}

func decodeInstall(b []byte, from string) (*hraft.InstallSnapshotRequest, error) {
	d := decoder{rest: b}
	r := &hraft.InstallSnapshotRequest{RPCHeader: header(d.uvarint(), from), Leader: []byte(from)}
	r.SnapshotVersion = hraft.SnapshotVersion(d.uvarint())
	r.Term, r.LastLogIndex, r.LastLogTerm, r.ConfigurationIndex = d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	r.Size = int64(d.uvarint())
	r.Configuration = d.field()
	if d.bad || r.Size < 0 {
		return nil, errFrameMalformed
	}
	return r, d.end()
}

// decodeRequest decodes the payload of a request by its kind into what the library expects.
func decodeRequest(f *frame) (any, error) {
	switch f.kind {
	case kindAppendEntries:
		return decodeAppendEntries(f.payload, f.from)
	case kindRequestVote:
		return decodeRequestVote(f.payload, f.from)
	case kindPreVote:
		return decodePreVote(f.payload, f.from)
	case kindTimeoutNow:
		d := decoder{rest: f.payload}
		return &hraft.TimeoutNowRequest{RPCHeader: header(d.uvarint(), f.from)}, d.end()
	default:
		return nil, fmt.Errorf("raft frame: kind %d is not a request", f.kind)
	}
}

// encodeResponse encodes what the library answered.
func encodeResponse(response any) ([]byte, error) {
	switch r := response.(type) {
	case *hraft.AppendEntriesResponse:
		return encodeAppendEntriesResponse(r), nil
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
