// Package rpc serves gRPC: the public services KV and Cluster, Forward between nodes, health
// and reflection, and whatever other packages of the node register on the same port.
//
// It is not the implementation of the operations: it translates messages into operations of an
// api.KV and errors into status codes, by the table in package api.
//
// # The life of a request
//
//  1. The headers arrive, 16 KiB of them at most. Who may not call the method is refused now, before
//     the body is taken in (access.go).
//  2. gRPC decodes the message, within api.MaxMessageBytes and maxElements (codec.go).
//  3. An interceptor measures, turns a panic into INTERNAL, and maps the error.
//  4. The handler translates the message, calls the KV and translates the answer.
//
// # The life of a call on a stream
//
//  1. readLoop receives a message, checks the caller's password again, and waits for room for each
//     call: a stream has maxStreamCalls and maxStreamBytes under way at most (stream.go).
//  2. The reads of a message that live on one shard become one turn of the KV, its writes another, each
//     with a goroutine (turns.go). A call that is none of these runs by itself, as a unary one.
//  3. What has been answered waits until answerLoop, the handler, sends all of it in one message.
//  4. When the node stops, what is under way is answered, later calls are refused, and the stream ends.
//
// # The life of a long value
//
//  1. Upload takes the header, and room in the ledger of transfers (upload.go).
//  2. The KV asks for the value piece by piece. Each chunk is waited for, for TransferSilence at most, and checked:
//     its checksum is that of the value up to its end. Flow control makes the client wait for the KV.
//  3. Only behind the last chunk is the KV told that the value has ended: what breaks before has executed
//     nothing. Batches of several operations are gathered in memory first.
//  4. Download sends what the KV brings, piece by piece, and waits for the client as Upload does (download.go).
//
// # Goroutines
//
// New starts streamWorkers goroutines that run requests; when all are busy gRPC starts one per request. Serve is the caller's. A stream of calls has one more that
// reads, which ends after its handler and is waited for by Close, and one for each turn. An upload or download has one while it waits for its client (patience.go). Close ends the requests that
// only wait (GetMap, health Watch), lets the others end for a moment, cancels the rest and waits
// for all.
//
// # Locks
//
// conversation.mu is a leaf.
//
// # Invariants
//
//   - C1: every error of ours that leaves this package carries ErrorDetail.
//   - C2: a request id of a client reaches the KV unchanged.
//   - C3: no request makes the process panic.
//   - C4: a method is called only by those whom the table names; a method without a row by nobody.
//   - C5: what is decoded takes memory in proportion to its size: the elements of lists are counted
//     first.
//   - C6: a connection that has made no call but those open to anybody is cut when it has sent
//     maxStrangerBytes, and has maxStrangerCalls under way at most.
//   - C7: each call of a stream is answered once, or its stream ends; what a stream has under way is
//     bounded, answers that its client does not read included.
//   - C8: no call of a message that came after its password was taken away is run.
//   - C9: what all streams of calls hold together is bounded, however many of them are not read, and
//     those whose answers are taken are served meanwhile.
//   - C10: no part of an upload is executed unless all of its chunks came as they were sent; what uploads and
//     downloads hold together is bounded, and a client that does nothing holds it no longer than TransferSilence,
//     one that does little no longer than UploadTime, or what a download of the value's length takes at most.
package rpc
