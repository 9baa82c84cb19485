package shard

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/raft"
)

// What can be done with a replica whose node is stopped: see package recovery.

// StoppedMachine is the state of a replica that is in no group.
type StoppedMachine struct{ *Machine }

// OpenStopped opens the state of a replica. Of the options it needs ID, Dir and FS. A replica that is fenced fails with
// ErrFenced. Splits that are applied make no child.
func OpenStopped(o Options) (*StoppedMachine, error) {
	o = o.withDefaults()
	if err := refuseFenced(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("open shard %d: %w", o.ID, err)
	}
	m, err := openMachine(o)
	if err != nil {
		return nil, err
	}
	return &StoppedMachine{Machine: m}, nil
}

// Epoch is that of the shard's arc, 0 for a shard that has none yet.
func (m *StoppedMachine) Epoch() api.Epoch { return m.state().epoch }

// Close closes the engine.
func (m *StoppedMachine) Close() error { return m.close() }

// EpochAfter is the epoch of a shard's arc after an entry of its log, from that before it, and the shards that the entry splits off.
func EpochAfter(e raft.Entry, epoch api.Epoch) (after api.Epoch, children []api.ShardID, err error) {
	if e.Configuration != nil {
		return epoch, nil, nil
	}
	entry, err := DecodeEntry(e.Data)
	if err != nil {
		return 0, nil, err
	}
	for _, command := range entry.Commands {
		if len(command) == 0 || opcode(command[0]) != opSplit && opcode(command[0]) != opConfigure {
			continue
		}
		d, err := decodeCommand(command)
		switch {
		case err != nil:
			return 0, nil, err
		case d.split == nil && epoch == 0:
			epoch = d.configure.epoch
		case d.split != nil && d.split.Epoch == epoch:
			epoch++
			children = append(children, d.split.Child)
		}
	}
	return epoch, children, nil
}
