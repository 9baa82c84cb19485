package raft

import (
	"strings"
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestALogContinuesAStateItReachesBackTo, in a term that is not behind the state's.
func TestALogContinuesAStateItReachesBackTo(t *testing.T) {
	storage, err := NewNodeStorage(NodeStorageOptions{Dir: t.TempDir(), FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	defer storage.Close()
	log, err := storage.Open(7, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := joinable(log, State{Index: 30, Term: 2}, 0); err == nil {
		t.Error("a log without a term, which has forgotten its votes, continues a state")
	}
	if err := log.SetUint64([]byte(keyCurrentTerm), 2); err != nil {
		t.Fatal(err)
	}
	for index := uint64(11); index <= 20; index++ {
		if err := log.StoreLog(&hraft.Log{Index: index, Term: 2, Type: hraft.LogCommand}); err != nil {
			t.Fatal(err)
		}
	}
	if err := joinable(log, State{Index: 9, Term: 2}, 0); err == nil || !strings.Contains(err.Error(), "begins at entry 11") {
		t.Errorf("a state that ends before the log begins: %v", err)
	}
	for _, s := range []State{{Index: 10, Term: 1}, {Index: 15, Term: 2}, {Index: 20, Term: 2}, {Index: 30, Term: 5}} {
		if err := joinable(log, s, 0); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
		if term, err := log.GetUint64([]byte(keyCurrentTerm)); err != nil || term < uint64(s.Term) {
			t.Errorf("%+v: the term is %d, %v", s, term, err)
		}
	}
	if last, err := log.LastIndex(); err != nil || last != 20 {
		t.Errorf("the log ends at %d, %v", last, err)
	}
}
