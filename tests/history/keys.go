package history

import (
	"fmt"
	"sync"
)

// What porcupine checks in well under a second per key (H3). It gives up on 20,000 operations by
// 32 clients on one key; 2,000 by 8 take milliseconds. An unknown write overlaps with everything after it
// and so counts as a client that stays for ever.
const (
	MaxOpsPerKey     = 2000
	MaxUnknownPerKey = 4
)

// Keys names the key that a group of at most four workers uses now, and replaces it when it is
// full. Safe for concurrent use.
type Keys struct {
	prefix string

	mu struct {
		sync.Mutex
		groups map[int]*keyState
	}
}

type keyState struct {
	generation, ops, unknown int
}

// NewKeys makes keys that begin with prefix.
func NewKeys(prefix string) *Keys {
	k := &Keys{prefix: prefix}
	k.mu.groups = make(map[int]*keyState)
	return k
}

// Next counts one operation and names its key.
func (k *Keys) Next(group int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.mu.groups[group]
	if s == nil {
		s = &keyState{}
		k.mu.groups[group] = s
	}
	if s.ops >= MaxOpsPerKey || s.unknown >= MaxUnknownPerKey {
		*s = keyState{generation: s.generation + 1}
	}
	s.ops++
	return k.name(group, s.generation)
}

// Unknown notes that an operation on key, which Next gave to group, ended without a known outcome.
func (k *Keys) Unknown(group int, key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.mu.groups[group]; s != nil && k.name(group, s.generation) == key {
		s.unknown++
	}
}

func (k *Keys) name(group, generation int) string {
	return fmt.Sprintf("%s/%d/%d", k.prefix, group, generation)
}
