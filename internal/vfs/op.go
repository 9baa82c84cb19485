package vfs

import "strings"

// Op is a kind of call, or a set of kinds.
type Op uint32

// The kinds of calls.
const (
	OpCreate Op = 1 << iota
	OpOpen
	OpUpdate
	OpRemove
	OpRename // the name is the new one
	OpLink   // the name is the new one
	OpMkdirAll
	OpList
	OpSyncDir
	OpRemoveAll
	OpLock
	OpRead
	OpWrite // in place, too
	OpSync  // of data alone, too
	OpSize
	OpClose
)

// Sets of kinds.
const (
	// OpMutating are the calls that change what a crash may leave.
	OpMutating = OpCreate | OpRemove | OpRename | OpLink | OpMkdirAll | OpSyncDir | OpRemoveAll | OpLock | OpWrite | OpSync
	// OpAny is every call.
	OpAny = OpClose<<1 - 1
)

var opNames = [...]string{"create", "open", "update", "remove", "rename", "link", "mkdirall", "list", "syncdir",
	"removeall", "lock", "read", "write", "sync", "size", "close"}

// String names the kinds in o, joined by "|".
func (o Op) String() string {
	var names []string
	for i, name := range opNames {
		if o&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}
