package pledge

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/sealed"
)

const (
	pledgeFile  = "pledge"
	clusterFile = "cluster"
)

// Store keeps a node's pledge and cluster in its data directory. Safe for concurrent use.
type Store struct {
	// Set by OpenStore, never written again.
	fsys   vfs.FS
	dir    string
	self   api.NodeID
	name   string
	expect int

	// mu is held while a file is written: a pledge and the decision to join a cluster exclude each
	// other (B1), so the second one waits for the disk's word on the first. Nothing else waits.
	mu struct {
		sync.Mutex
		pledge  *Pledge
		cluster *Cluster
		failure error // of the disk; sticky
	}
}

// OpenStore reads what dir holds. Name and expect are what the node was started with; they are
// shown to peers and not kept.
func OpenStore(fsys vfs.FS, dir string, self api.NodeID, name string, expect int) (*Store, error) {
	s := &Store{fsys: fsys, dir: dir, self: self, name: name, expect: expect}
	var pledge peerv1.PledgeRecord
	found, err := sealed.Read(fsys, dir, pledgeFile, sealed.Pledge, &pledge)
	if err != nil {
		return nil, err
	}
	if found {
		p := pledgeOf(&pledge)
		if err := p.Validate(); err != nil || !p.Names(self) {
			return nil, &sealed.CorruptError{File: dir + "/" + pledgeFile, Reason: fmt.Sprintf("it is not a pledge of node %s", self)}
		}
		s.mu.pledge = &p
	}
	var cluster peerv1.ClusterRecord
	found, err = sealed.Read(fsys, dir, clusterFile, sealed.Cluster, &cluster)
	if err != nil {
		return nil, err
	}
	if found {
		c := clusterOf(&cluster)
		if c.ID == "" {
			return nil, &sealed.CorruptError{File: dir + "/" + clusterFile, Reason: "it names no cluster"}
		}
		s.mu.cluster = &c
	}
	return s, nil
}

// State returns what is durable.
func (s *Store) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked()
}

// show is State for those who conclude something from it: after the disk failed nobody may.
func (s *Store) show() (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(), s.mu.failure
}

func (s *Store) stateLocked() State {
	return State{Node: s.self, Name: s.name, Expect: s.expect, Pledge: s.mu.pledge, Cluster: s.mu.cluster}
}

// Pledge takes p if the node is empty, unpledged and expects as many nodes, and returns what is
// held afterwards. Whether p was taken shows in the answer; it is durable then. An error is the
// disk's, or p is not for this node.
func (s *Store) Pledge(p Pledge) (State, error) {
	if err := p.Validate(); err != nil {
		return State{}, api.Errorf(api.CodeInvalid, "%w", err)
	}
	if !p.Names(s.self) {
		return State{}, api.Errorf(api.CodeInvalid, "the pledge does not name node %s", s.self)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.failure != nil {
		return State{}, s.mu.failure
	}
	unpledged := s.mu.pledge == nil || seededbug.Enabled(seededbug.PledgeAgain)
	if unpledged && s.mu.cluster == nil && s.expect == len(p.Nodes) {
		if err := s.writeLocked(pledgeFile, sealed.Pledge, p.record()); err != nil {
			return State{}, err
		}
		s.mu.pledge = &p
	}
	return s.stateLocked(), nil
}

// form records that every node of the pledge holds it.
func (s *Store) form() (Cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.pledge == nil {
		return Cluster{}, fmt.Errorf("form a cluster without a pledge")
	}
	return s.belongLocked(s.mu.pledge.cluster())
}

// join records that the node belongs to c, which formed without it. The caller has proof that a
// pledge that this node holds, if it does, will never form; pledge is the one it knows of, and a
// pledge taken meanwhile is an answer of its own: join then returns false.
func (s *Store) join(c Cluster, pledge *Pledge) (Cluster, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.pledge != pledge {
		return Cluster{}, false, nil
	}
	joined, err := s.belongLocked(c)
	return joined, err == nil, err
}

func (s *Store) belongLocked(c Cluster) (Cluster, error) {
	if s.mu.failure != nil {
		return Cluster{}, s.mu.failure
	}
	if s.mu.cluster == nil {
		if err := s.writeLocked(clusterFile, sealed.Cluster, c.record()); err != nil {
			return Cluster{}, err
		}
		s.mu.cluster = &c
	}
	return *s.mu.cluster, nil
}

// writeLocked makes a record durable. After an error nobody knows what a crash would leave, so
// the store answers nothing from then on: it must not deny a pledge that the disk may hold.
func (s *Store) writeLocked(name string, kind sealed.Kind, record proto.Message) error {
	if err := sealed.Write(s.fsys, s.dir, name, kind, record); err != nil {
		s.mu.failure = api.Errorf(api.CodeStoreFailed, "keep the %s: %w", name, err)
		return s.mu.failure
	}
	return nil
}
