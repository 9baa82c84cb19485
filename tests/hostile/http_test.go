package hostile

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// TestHostileHTTPAndGRPCClientsHarmNobody attacks one node of three by its other two ports.
func TestHostileHTTPAndGRPCClientsHarmNobody(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	withstand(t, c.Nodes[0], "", []attack{
		{"HTTP headers without end", 150, "headers are at most some KiB, of 100 connections", endlessHeaders},
		{"HTTP bodies", 250, "a body is read a piece at a time, and few of them at once", hugeBodies},
		{"slow HTTP", 100, "300 connections with half a header", slowHTTP},
		{"gRPC garbage", 200, "a frame that is wrong ends its connection", grpcGarbage},
		{"gRPC floods", 300, "frames that ask for work are answered or end the connection", grpcFloods},
	})
}

func endlessHeaders(a *attacker) {
	line := "X-Header: " + strings.Repeat("y", 8_000) + "\r\n"
	a.many(100, a.node.HTTP, func(_ int, conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: x\r\n")
		for range 2_000 { // 16 MB, of which the node takes a little
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
		}
		a.t.Errorf("16 MB of headers were taken in")
	})
}

func hugeBodies(a *attacker) {
	requests := []string{
		"PUT /v1/kv/hostile HTTP/1.1\r\nHost: x\r\nContent-Length: 2147483648\r\n\r\n",
		"PUT /v1/kv/hostile HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n",
		"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
		"GET /v1/kv/" + strings.Repeat("k", 2<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	}
	piece := strings.Repeat("z", 64<<10)
	a.many(40, a.node.HTTP, func(i int, conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, requests[i%len(requests)]); err != nil {
			return
		}
		for range 400 { // 25 MiB
			if _, err := io.WriteString(conn, piece); err != nil {
				return
			}
		}
	})
}

func slowHTTP(a *attacker) {
	a.many(300, a.node.HTTP, func(_ int, conn net.Conn) {
		_, _ = io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHo")
		for range 4 {
			a.wait(time.Second)
			if _, err := io.WriteString(conn, "s"); err != nil {
				return
			}
		}
	})
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Types of HTTP/2 frames (RFC 9113, section 6).
const (
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameContinuation = 9
)

// frame is one HTTP/2 frame: 24 bits of length, type, flags, 32 bits of stream, payload.
func frame(kind, flags byte, stream uint32, payload string) string {
	head := make([]byte, 9)
	binary.BigEndian.PutUint32(head, uint32(len(payload))<<8)
	head[3], head[4] = kind, flags
	binary.BigEndian.PutUint32(head[5:], stream)
	return string(head) + payload
}

func grpcGarbage(a *attacker) {
	pieces := []string{
		strings.Repeat("\xff", 100_000), preface + strings.Repeat("\xff", 100_000), preface + frame(frameSettings, 0, 0, "") + "\xff\xff\xff\x00\x00\x00\x00\x00\x01",
		preface + frame(frameSettings, 0, 0, "12345"), preface + frame(frameHeaders, 4, 1, strings.Repeat("\x00", 16_000)),
		preface + frame(frameHeaders, 4, 2, ""), "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 50_000), "\x16\x03\x01\x40\x00" + strings.Repeat("\x01", 16_384),
		preface + frame(77, 0, 1, strings.Repeat("u", 16_000)),
	}
	a.many(180, a.node.GRPC, func(i int, conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		_, _ = io.WriteString(conn, pieces[i%len(pieces)])
	})
	a.wait(time.Second)
}

// grpcFloods are the attacks on HTTP/2 that have names: CONTINUATION without end, rapid reset,
// pings and settings that want to be acknowledged.
func grpcFloods(a *attacker) {
	// A header field of HPACK: literal, not indexed, with a new name.
	field := "\x00\x05x-abc\x7f\x81\x1f" + strings.Repeat("v", 127+0x0f81)
	openers := []func(i int) string{
		func(i int) string {
			if i == 0 {
				return frame(frameHeaders, 0, 1, "")
			}
			return frame(frameContinuation, 0, 1, field)
		},
		func(i int) string {
			stream := uint32(2*i + 1)
			return frame(frameHeaders, 4, stream, "\x83\x86\x84\x41\x01x") + frame(frameReset, 0, stream, "\x00\x00\x00\x08")
		},
		func(int) string { return frame(framePing, 0, 0, "12345678") },
		func(int) string { return frame(frameSettings, 0, 0, "\x00\x04\x00\x00\xff\xff") },
	}
	a.many(40, a.node.GRPC, func(i int, conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(4 * time.Second))
		if _, err := io.WriteString(conn, preface+frame(frameSettings, 0, 0, "")); err != nil {
			return
		}
		for n := range 10_000 { // nothing is read: acknowledgements pile up, or the node stops
			if _, err := io.WriteString(conn, openers[i%len(openers)](n)); err != nil {
				return
			}
		}
	})
	a.wait(time.Second)
}
