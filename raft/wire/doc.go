// Package wire encodes the messages of Raft groups between nodes: frames with a checksum, and
// the requests and answers of hashicorp/raft inside them.
//
// It knows no connection and no group; package raft moves the bytes. Protobuf is only the
// carrier: a message of api/peerv1 holds whole frames. docs/formats/raft-wire.md is the
// specification, and testdata has goldens of it.
//
// # The life of a message
//
//  1. The asker encodes the request, puts it into a Frame and calls Encode.
//  2. The receiver calls DecodeFrame, which verifies the checksum, then DecodeRequest.
//  3. It answers with Frame.Answer, whose payload is made by EncodeResponse.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
package wire
