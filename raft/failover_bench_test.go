package raft

import (
	"fmt"
	"slices"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"
)

// BenchmarkFailover shows how long a group is without a leader and where the time goes, in
// milliseconds since the fault: until a survivor is a candidate, until one has won, until it is ready,
// and until a write is acknowledged.
//
//	go test ./raft -run '^$' -bench Failover -benchtime 20x
func BenchmarkFailover(b *testing.B) {
	for _, fault := range []string{"killed", "cut off"} {
		b.Run("leader="+fault, func(b *testing.B) {
			c := newTestCluster(b, 3)
			phases := map[string][]time.Duration{}
			for range b.N {
				c.write(7, "a", "1")
				leader := c.leader(7)
				rest := c.others(leader)
				c.converge(7, "a", "1")
				began := time.Now()
				note := func(phase string, reached func(n *testNode) bool) {
					poll := time.NewTicker(time.Millisecond)
					defer poll.Stop()
					for !slices.ContainsFunc(rest, reached) {
						<-poll.C
					}
					phases[phase] = append(phases[phase], time.Since(began))
				}
				state := func(n *testNode) hraft.RaftState { return n.groups[7].current.Load().raft.State() }
				if fault == "killed" {
					leader.crash()
				} else {
					c.isolate(leader)
				}
				note("1 candidate", func(n *testNode) bool { return state(n) != hraft.Follower })
				note("2 leader", func(n *testNode) bool { return state(n) == hraft.Leader })
				note("3 ready", func(n *testNode) bool { return n.groups[7].IsReadyLeader() })
				c.write(7, "a", "2", names(rest)...)
				note("4 written", func(*testNode) bool { return true })
				if fault == "killed" {
					leader.start()
				} else {
					c.rejoin(leader)
				}
			}
			for phase, d := range phases {
				slices.Sort(d)
				b.ReportMetric(float64(d[len(d)/2].Milliseconds()), fmt.Sprintf("%c-p50-ms", phase[0]))
				b.ReportMetric(float64(d[len(d)-1].Milliseconds()), fmt.Sprintf("%c-max-ms", phase[0]))
			}
		})
	}
}
