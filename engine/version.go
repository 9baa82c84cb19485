package engine

// Version orders the values of one key in time; higher is newer. Zero means that the engine
// chooses (in a Batch); no stored row has it.
type Version uint64

// MaxVersion is the version to read at for the newest rows. No row has it.
const MaxVersion = ^Version(0)

// Position is a place in the caller's log, opaque to the engine. It is stored in the same
// atomic step as the batch that carries it.
type Position struct{ Index, Term uint64 }

// Horizon tells what nobody will ask for any more. Both parts only grow. The caller keeps them
// at or below the time of the batch that carries them, and ExpiryMillis at or below the time of
// every read at Version or above: a row that expired by then may read as absent.
type Horizon struct {
	// Version is the lowest version at which reads are still answered.
	Version Version
	// ExpiryMillis is a time: rows whose expiry is at or before it may be dropped.
	ExpiryMillis uint64
}

func (h Horizon) max(o Horizon) Horizon {
	return Horizon{Version: max(h.Version, o.Version), ExpiryMillis: max(h.ExpiryMillis, o.ExpiryMillis)}
}

// Row is one value of one key. Its bytes are read-only.
type Row struct {
	Key, Value   []byte
	Version      Version
	ExpiryMillis uint64 // absolute time in milliseconds; zero for never
}
