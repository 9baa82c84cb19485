package shard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
)

// Digest says what a replica holds after an entry, as one number.
type Digest struct {
	Index api.Index
	Sum   uint64
	// Version says how the number is made; see DigestVersion.
	Version uint32
}

// DigestVersion is how digests are made here. Numbers of different versions are not compared: a replica that
// makes them otherwise cannot tell. The digest is a running one, so that another way of making it begins at
// an entry of the log, the same for all replicas, as another meaning of a command does.
const DigestVersion = 1

// Peers reaches the other replicas of a shard.
type Peers interface {
	// Digest asks the replica on a node for its digest after an entry. An error means that it
	// cannot tell.
	Digest(ctx context.Context, node api.NodeID, id api.ShardID, index api.Index) (Digest, error)
	// Fence tells the replica on a node that a majority holds a digest.
	Fence(ctx context.Context, node api.NodeID, id api.ShardID, majority Digest) error
	// Checkpoint writes to w what the replica on a node holds, as Shard.SendCheckpoint does there.
	Checkpoint(ctx context.Context, node api.NodeID, id api.ShardID, w io.Writer) error
}

// digestTimeout bounds what a leader does to compare the replicas once: many times what a replica
// in good health is behind.
const digestTimeout = 2 * time.Second

// ErrFenced is the error of a replica whose state differs from that of the majority.
var ErrFenced = errors.New("the replica is fenced")

// report is what one voter says.
type report struct {
	replica raft.ReplicaID
	known   bool // it could tell
	sum     uint64
}

// verdict is what reports come to.
type verdict struct {
	majority uint64
	found    bool             // more than half of the voters hold the majority's digest
	dissent  []raft.ReplicaID // voters that hold another one
	split    bool             // voters differ, and no digest has a majority
}

// judge compares reports of all voters. Those who cannot tell count for nobody.
func judge(reports []report) verdict {
	counts := make(map[uint64]int)
	for _, r := range reports {
		if r.known {
			counts[r.sum]++
		}
	}
	var v verdict
	for sum, n := range counts {
		if 2*n > len(reports) {
			v.majority, v.found = sum, true
		}
	}
	v.split = !v.found && len(counts) > 1
	for _, r := range reports {
		if v.found && r.known && r.sum != v.majority {
			v.dissent = append(v.dissent, r.replica)
		}
	}
	if seededbug.Enabled(seededbug.ShardIgnoreDigest) {
		return verdict{}
	}
	return v
}

// Digest is this replica's digest after an entry, once it has applied it.
func (s *Shard) Digest(ctx context.Context, index api.Index) (Digest, error) {
	if err := s.waitApplied(ctx, index); err != nil {
		return Digest{}, err
	}
	sum, found := s.machine.digests.at(index)
	if !found {
		return Digest{}, api.Errorf(api.CodeUnavailable, "shard %d does not remember its digest after entry %d", s.options.ID, index)
	}
	return Digest{Index: index, Sum: sum, Version: DigestVersion}, nil
}

// compare asks all voters for their digest after the newest entry of this leader, and sees to it
// that those who differ from the majority serve no more.
func (s *Shard) compare(ctx context.Context) {
	own := s.machine.digests.newest()
	if s.options.Peers == nil || own == s.compared {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, digestTimeout)
	defer cancel()
	reports := s.reports(ctx, own)
	v := judge(reports)
	switch {
	case v.split:
		s.halt(own.index)
	case v.found:
		if !slices.ContainsFunc(reports, func(r report) bool { return !r.known }) {
			s.compared = own // who was silent may hold something else, and is asked again
		}
		s.resume()
		s.fenceAll(ctx, Digest{Index: own.index, Sum: v.majority, Version: DigestVersion}, v.dissent)
	}
}

// reports asks all voters at once.
func (s *Shard) reports(ctx context.Context, own digestAt) []report {
	return askVoters(ctx, s.options, s.machine.voters(), own.index, func(v raft.ReplicaID) (Digest, bool) {
		return Digest{Index: own.index, Sum: own.digest, Version: DigestVersion}, v == s.group.Replica()
	})
}

// askVoters asks all voters at once for their digest after an entry, but for those whose answer is known.
func askVoters(ctx context.Context, o Options, voters []raft.ReplicaID, index api.Index, known func(raft.ReplicaID) (Digest, bool)) []report {
	reports := make([]report, len(voters))
	var asked sync.WaitGroup
	for i, v := range voters {
		take := func(d Digest) {
			reports[i].known, reports[i].sum = d.Index == index && d.Version == DigestVersion, d.Sum
		}
		reports[i].replica = v
		if d, ok := known(v); ok {
			take(d)
			continue
		}
		asked.Go(func() {
			if d, err := o.Peers.Digest(ctx, v.Node, o.ID, index); err == nil {
				take(d)
			}
		})
	}
	asked.Wait()
	return reports
}

// fenceAll fences the voters that differ from the majority, this one last: by then none of the
// others can take the leadership that it gives away.
func (s *Shard) fenceAll(ctx context.Context, majority Digest, dissent []raft.ReplicaID) {
	fenceSelf := false
	for _, r := range dissent {
		if r == s.group.Replica() {
			fenceSelf = true
			continue
		}
		s.options.Logger.Error("a replica's state differs from the majority's", "replica", r.String(), "index", uint64(majority.Index))
		if err := s.options.Peers.Fence(ctx, r.Node, s.options.ID, majority); err != nil {
			s.options.Logger.Error("the replica was not told, and will be next time", "replica", r.String(), "error", err)
			s.compared = digestAt{}
		}
	}
	if !fenceSelf {
		return
	}
	if err := s.group.TransferLeadership(ctx); err != nil {
		s.options.Logger.Warn("leadership not given away before fencing", "error", err)
	}
	if err := s.Fence(ctx, majority); err != nil {
		s.options.Logger.Error("fencing failed", "error", err)
		s.compared = digestAt{}
	}
}

// fenceName is a file whose presence says that the replica is fenced.
const fenceName = "FENCED"

// Fence stops this replica if its digest is not the majority's: it does not serve, vote or lead, now and
// after a restart, until it was rebuilt; see rebuild.go. Who asks for it is not believed: this replica asks the voters itself, so that no message alone, true or
// not, puts replicas out of use.
func (s *Shard) Fence(ctx context.Context, majority Digest) error {
	own, found := s.machine.digests.at(majority.Index)
	if !found || own == majority.Sum || majority.Version != DigestVersion || s.options.Peers == nil {
		return api.Errorf(api.CodeInvalid, "shard %d has no other digest than the majority's after entry %d", s.options.ID, majority.Index)
	}
	ctx, cancel := context.WithTimeout(ctx, digestTimeout)
	defer cancel()
	if v := judge(s.reports(ctx, digestAt{majority.Index, own})); !v.found || v.majority != majority.Sum {
		return api.Errorf(api.CodeUnavailable, "no majority of shard %d says that its digest after entry %d is another one", s.options.ID, majority.Index)
	}
	cause := fmt.Errorf("shard %d: after entry %d the digest is %016x, the majority's %016x: %w", s.options.ID, majority.Index, own, majority.Sum, ErrFenced)
	err := writeFence(s.options, cause)
	s.fenced.Store(true)
	s.group.Fence(cause)
	s.options.Logger.Error("this replica's state differs from the majority's; it is fenced until it was rebuilt from them", "index", uint64(majority.Index))
	if err != nil {
		return fmt.Errorf("shard %d is fenced, but may not be after a restart: %w", s.options.ID, err)
	}
	return nil
}

// writeFence says on disk why a replica is fenced.
func writeFence(o Options, cause error) error {
	return vfs.WriteFileAtomic(o.FS, o.Dir, fenceName, []byte(cause.Error()+"\n"))
}

// refuseFenced fails for the directory of a replica that was fenced.
func refuseFenced(fs vfs.FS, dir string) error {
	why, err := vfs.ReadFile(fs, dir+"/"+fenceName)
	switch {
	case vfs.IsNotExist(err):
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", fenceName, err)
	default:
		return fmt.Errorf("%w: %s", ErrFenced, why)
	}
}

// halt refuses writes from now on, until the replicas agree again.
func (s *Shard) halt(index api.Index) {
	if !s.halted.Swap(true) {
		s.options.Logger.Error("ALARM: the replicas of this shard differ and none has a majority; writes are stopped", "index", uint64(index))
	}
}

func (s *Shard) resume() {
	if s.halted.Swap(false) {
		s.options.Logger.Warn("a majority of the replicas agrees; writes go on")
	}
}

var errHalted = api.Errorf(api.CodeUnavailable, "the replicas of the shard differ and none has a majority: restore one from a backup")

// effects sums up what one entry does: rows and their versions, and what commands came to. It finds
// replicas that differ by mistake, not by intent: a checksum that the processor computes is enough.
type effects struct {
	sum     uint32
	numbers [24]byte
}

// row adds a row that is written; value is nil when the key is deleted.
func (e *effects) row(key, value []byte, v api.Version, expiryMillis uint64) {
	e.sum = crc32.Update(e.sum, castagnoli, key)
	e.sum = crc32.Update(e.sum, castagnoli, value)
	e.add(uint64(v), expiryMillis, uint64(len(value)))
}

func (e *effects) add(a, b, c uint64) {
	binary.BigEndian.PutUint64(e.numbers[0:], a)
	binary.BigEndian.PutUint64(e.numbers[8:], b)
	binary.BigEndian.PutUint64(e.numbers[16:], c)
	e.sum = crc32.Update(e.sum, castagnoli, e.numbers[:])
}

// answer adds what a command came to, with what it found.
func (e *effects) answer(a *Answer) {
	if a.Err != nil {
		clear(e.numbers[:])
		copy(e.numbers[:], a.Err.Code)
		e.sum = crc32.Update(e.sum, castagnoli, e.numbers[:])
		return
	}
	e.add(uint64(a.Result.Version), uint64(a.Result.FailedOp), uint64(len(a.Result.Ops)))
	for i := range a.Result.Ops {
		o := &a.Result.Ops[i]
		e.add(uint64(o.PreviousVersion), uint64(o.Number), uint64(flagIf(o.Existed, 1)|flagIf(o.Applied, 2)))
	}
}

// digest takes an entry into the running digest.
func (s *state) takeIn(index api.Index, e *effects) {
	for _, n := range [...]uint64{uint64(index), uint64(s.term), uint64(e.sum), uint64(s.last), s.run, s.next, s.sessions, s.parts.StagedBytes, s.parts.Values, s.parts.Due} {
		s.digest = mix(s.digest ^ n)
	}
	e.sum = 0
}

// mix is the finalizer of Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// 2014: every bit of n changes about half of the result's.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// maxDigests is how many digests a replica remembers. Whoever asks names the newest index it has,
// so that a replica with some 20,000 entries a second may take 200 ms to be asked.
const maxDigests = 4096

// digests are the running digests after the last entries of a replica. Safe for concurrent use.
type digests struct {
	mu   sync.Mutex // a leaf
	list []digestAt // by index
	next int        // where the oldest is once the list is full
}

type digestAt struct {
	index  api.Index
	digest uint64
}

func (d *digests) add(list []digestAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range list {
		if len(d.list) < maxDigests {
			d.list = append(d.list, at)
			continue
		}
		d.list[d.next] = at
		d.next = (d.next + 1) % maxDigests
	}
}

// reset forgets all of them but one.
func (d *digests) reset(at digestAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list, d.next = []digestAt{at}, 0
}

// newest is the last one.
func (d *digests) newest() digestAt {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list[(d.next+len(d.list)-1)%len(d.list)]
}

// at is the digest after an entry, if it is remembered.
func (d *digests) at(index api.Index) (digest uint64, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	nth := func(i int) digestAt { return d.list[(d.next+i)%len(d.list)] }
	i := sort.Search(len(d.list), func(i int) bool { return nth(i).index >= index })
	if i == len(d.list) || nth(i).index != index {
		return 0, false
	}
	return nth(i).digest, true
}
