// Package wire encodes the messages of Raft groups between nodes: batches of frames under a checksum, and
// the requests and answers of hashicorp/raft inside them.
//
// It knows no connection and no group; package raft/mux moves the bytes. docs/formats/raft-wire.md is the
// specification, and testdata has goldens of it.
//
// # The life of a message
//
//  1. The asker begins a batch with BeginBatch and appends its requests as frames with AppendFrame.
//     SealBatch completes it.
//  2. The receiver calls OpenBatch, which verifies the checksum, Frames.Next for each frame, and
//     DecodeRequest, whose result keeps nothing of the batch.
//  3. It answers with the frame that Answer makes, whose payload is made by AppendResponse.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
package wire
