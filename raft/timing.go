package raft

import (
	"errors"
	"fmt"
	"time"
)

// Timing holds the timers and thresholds of every group of a host. The zero value of a field
// means its default. Nothing here changes while running.
type Timing struct {
	// HeartbeatTimeout: a follower that hears nothing for one to two of it asks for an election.
	// Default 500 ms: ten times a slow fsync, and a failover stays near one second.
	HeartbeatTimeout time.Duration
	// ElectionTimeout: a candidate waits that long for votes. At least HeartbeatTimeout, the default.
	ElectionTimeout time.Duration
	// LeaderLease: a leader that has not heard a majority for that long steps down. At most
	// HeartbeatTimeout. Default nine tenths of it: less would depose leaders on busy machines, where a
	// heartbeat waits for two writes of the follower's log and for a processor. It is also what hints
	// shorten the other two to, which must be less than they usually are to have an effect.
	LeaderLease time.Duration
	// CommitTimeout: an idle leader tells followers the commit index that often. Default 50 ms.
	CommitTimeout time.Duration
	// SnapshotInterval: how often a group looks whether its log is to be cut. Default 5 s: what a
	// node replays after a crash is then bounded by a few seconds of writes and the threshold, and
	// the look itself costs nothing.
	SnapshotInterval time.Duration
	// SnapshotThreshold: entries since the last cut that make it worth flushing the state
	// machine and cutting again. Default 8192.
	SnapshotThreshold uint64
	// TrailingLogs: at most so many entries are kept behind a cut, so that a follower that was away
	// for a moment needs no snapshot. Default 65,536, whose places take 1.5 MiB of memory.
	TrailingLogs uint64
	// TrailingBytes: and at most so many bytes of them, if the storage counts bytes; less when many groups
	// share it, see reclaim.go. When a log has grown by as much since it was cut, it is cut again, whatever
	// SnapshotThreshold says. Default 64 MiB.
	TrailingBytes int64
	// MaxAppendEntries: entries in one message, in one write of the log and in one Apply.
	// Default 64, at most 1024. Messages are bounded by bytes besides.
	MaxAppendEntries int
}

func (t Timing) withDefaults() Timing {
	setDuration := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	setDuration(&t.HeartbeatTimeout, 500*time.Millisecond)
	setDuration(&t.ElectionTimeout, t.HeartbeatTimeout)
	setDuration(&t.LeaderLease, t.HeartbeatTimeout*9/10)
	setDuration(&t.CommitTimeout, 50*time.Millisecond)
	setDuration(&t.SnapshotInterval, 5*time.Second)
	if t.SnapshotThreshold == 0 {
		t.SnapshotThreshold = 8192
	}
	if t.TrailingLogs == 0 {
		t.TrailingLogs = 65_536
	}
	if t.TrailingBytes == 0 {
		t.TrailingBytes = 64 << 20
	}
	if t.MaxAppendEntries == 0 {
		t.MaxAppendEntries = 64
	}
	return t
}

// Validate reports every problem of a Timing whose defaults are filled in.
func (t Timing) Validate() error {
	var problems []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"heartbeat timeout", t.HeartbeatTimeout}, {"election timeout", t.ElectionTimeout}, {"leader lease", t.LeaderLease},
		{"commit timeout", t.CommitTimeout}, {"snapshot interval", t.SnapshotInterval},
	} {
		if d.value < 5*time.Millisecond {
			problems = append(problems, fmt.Errorf("%s %s is below 5ms", d.name, d.value))
		}
	}
	if t.LeaderLease > t.HeartbeatTimeout {
		problems = append(problems, fmt.Errorf("leader lease %s is above the heartbeat timeout %s", t.LeaderLease, t.HeartbeatTimeout))
	}
	if t.ElectionTimeout < t.HeartbeatTimeout {
		problems = append(problems, fmt.Errorf("election timeout %s is below the heartbeat timeout %s", t.ElectionTimeout, t.HeartbeatTimeout))
	}
	if t.TrailingBytes < 0 {
		problems = append(problems, fmt.Errorf("%d trailing bytes are negative", t.TrailingBytes))
	}
	if t.MaxAppendEntries < 1 || t.MaxAppendEntries > 1024 {
		problems = append(problems, fmt.Errorf("%d entries per message is not within 1 to 1024", t.MaxAppendEntries))
	}
	return errors.Join(problems...)
}
