package mux

import (
	"fmt"
	"testing"

	hraft "github.com/hashicorp/raft"
	"google.golang.org/grpc/mem"
)

// BenchmarkAppendRoundTrip is one request through a pipeline and its answer, over connections in memory:
// everything between the library of the leader and that of the follower.
func BenchmarkAppendRoundTrip(b *testing.B) {
	for _, entries := range []int{1, 16} {
		b.Run(fmt.Sprintf("entries=%d/value=256B", entries), func(b *testing.B) {
			p := newWirePair(b)
			go func() {
				for {
					select {
					case rpc := <-p.b.Consumer():
						rpc.Respond(&hraft.AppendEntriesResponse{Term: 2, Success: true}, nil)
					case <-p.b.ctx.Done():
						return
					}
				}
			}()
			args := request(2)
			for i := range entries {
				args.Entries = append(args.Entries, &hraft.Log{Index: uint64(i) + 2, Term: 2, Data: make([]byte, 256)})
			}
			if err := p.a.AppendEntries("", p.target, args, &hraft.AppendEntriesResponse{}); err != nil {
				b.Fatal(err)
			}
			pipe, err := p.a.AppendEntriesPipeline("", p.target)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = pipe.Close() }()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pipe.AppendEntries(args, &hraft.AppendEntriesResponse{}); err != nil {
					b.Fatal(err)
				}
				<-pipe.Consumer()
			}
		})
	}
}

// BenchmarkBatchBuffers fills and gives back the buffer of a batch of 48 KiB, which grpc's pool would
// serve with a buffer of 1 MiB that it clears.
func BenchmarkBatchBuffers(b *testing.B) {
	for name, pool := range map[string]mem.BufferPool{"pool=own": &buffers, "pool=grpc": mem.DefaultBufferPool(), "pool=none": mem.NopBufferPool{}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				pool.Put(pool.Get(48 << 10))
			}
		})
	}
}
