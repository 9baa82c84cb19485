package raft

import "github.com/lightning-db/lightning/api"

// State is what a state machine holds: everything up to and including an entry, and the
// membership as of that entry. The zero State is an empty machine.
type State struct {
	Index         api.Index
	Term          api.Term
	Configuration Configuration
}

// Entry is one committed entry that the state machine must apply. Its Data belongs to the log:
// the state machine may keep it, and must not change it.
type Entry struct {
	Index api.Index
	Term  api.Term
	// Data is the proposed command; nil for an entry that only changes the membership.
	Data []byte
	// Configuration is set for an entry that changes the membership. The state machine stores
	// it with its other state: it is part of State from then on.
	Configuration *Configuration
}

// StateMachine is the replicated state, persistent on its own. The group feeds it every
// committed command and configuration once, in log order. Indexes have holes: entries that
// Raft needs for itself are not delivered.
//
// Apply and Install are called from one goroutine at a time. Durable, Flush and Checkpoint
// may be called at any time, also while Apply runs.
type StateMachine interface {
	// Apply applies entries in order and returns one result for each. It decides from the
	// entries and the state alone. An error means that the store is unwell: the group stops
	// and nothing of this call is acknowledged.
	Apply(entries []Entry) ([]any, error)
	// Durable is what would survive a crash now. Right after opening it is all there is. It
	// never goes back, except that Install may replace it, and it does no I/O.
	Durable() State
	// Flush makes everything applied before the call durable.
	Flush() error
	// Checkpoint writes a consistent, complete, synced copy into dir, which does not exist yet,
	// and says what it holds, or fails if any of it is damaged. The copy is a flat directory of files that do not change any more.
	Checkpoint(dir string) (State, error)
	// Install replaces the state by the checkpoint in dir, so that after a crash either the old
	// or the new state is there, and consumes dir. When it returns nil, Durable is the new state;
	// when it returns an error, the old state is still the one in use.
	Install(dir string) error
}
