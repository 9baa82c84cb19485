package api

// Limits. All of them live here, each with its reason.
const (
	// MaxKeyBytes bounds a key. Keys are held in index blocks and in every comparison; Redis
	// allows 512 MiB but nobody who measures uses keys beyond a few KiB.
	MaxKeyBytes = 64 << 10

	// MaxValueBytes bounds a value. A long one goes through the log and over the wire in parts, so that
	// nothing waits behind the whole of it.
	MaxValueBytes = 64 << 20

	// MaxWholeBytes bounds a value that is in memory in one piece: what an operation makes of a stored
	// value or returns of it in one step of apply, and what a read answers in one message.
	MaxWholeBytes = 8 << 20

	// MaxBatchBytes bounds the keys and values of one batch. It leaves room for one value of the
	// largest size and its key.
	MaxBatchBytes = MaxValueBytes + MaxKeyBytes + 64<<10

	// MaxInlineBatchBytes bounds what of a batch is not in parts, which is one Raft entry: an entry
	// blocks its group while it is written and sent.
	MaxInlineBatchBytes = MaxWholeBytes + MaxKeyBytes + 64<<10

	// MaxInlineBytes is up to where a value lies in its row, and a batch goes through the log in one
	// piece: four full entries. The large values of a longer batch go through it in parts.
	MaxInlineBytes = 1 << 20

	// MaxPartBytes is the length of a part of a value, which is an entry of the log for itself. It is
	// as long as an entry that is full of small commands, so that these wait behind a part no longer
	// than behind each other.
	MaxPartBytes = 256 << 10

	// MinStagedBytes is from where on a value goes in parts. A part costs an entry of the log, which
	// is worth it only for what is much of a full one.
	MinStagedBytes = 64 << 10

	// MaxBatchParts bounds the parts of one batch: all of its bytes in values of MinStagedBytes.
	MaxBatchParts = MaxBatchBytes/MinStagedBytes + 1

	// MaxStagedBatches bounds the batches of the largest size whose parts a shard keeps while they are brought. They
	// are on disk, a gibibyte of them. Each node brings a share of them at a time, so that those that are begun
	// in a cluster of three nodes find room to the end.
	MaxStagedBatches = 16

	// MaxBatchOps bounds the operations of one batch: evaluation is one uninterrupted step of apply.
	MaxBatchOps = 100_000

	// MaxEntryBytes bounds one Raft entry with its header.
	MaxEntryBytes = MaxInlineBatchBytes + 64<<10

	// MaxMessageBytes bounds one gRPC message; gRPC's default of 4 MiB would refuse entries and
	// stop replication for good.
	MaxMessageBytes = 2*MaxEntryBytes + 1<<20

	// MaxMessageValueBytes bounds a value in a message between client and node: a longer one would
	// be in memory several times, and keep what is behind it waiting. It comes in chunks of up to
	// MaxChunkBytes, which are as long as parts, so that none has to be cut.
	MaxMessageValueBytes = 4 << 20
	MaxChunkBytes        = MaxPartBytes

	// StreamWindowBytes and ConnectionWindowBytes are HTTP/2's flow control windows: what the other
	// side may send before it is read. They are fixed because gRPC else measures the bandwidth with
	// a ping for nearly every message, which was half of all writes to sockets between nodes. A
	// stream carries 20 MB/s over a round trip of 50 ms, and a client that nobody reads from costs
	// no more than the window of its connection.
	StreamWindowBytes     = 1 << 20
	ConnectionWindowBytes = 2 << 20

	// MaxScanPageItems and MaxScanPageBytes bound one page of a scan; a page is held in memory
	// on the leader and on the merging node.
	MaxScanPageItems = 1024
	MaxScanPageBytes = 1 << 20

	// MaxReplyBytes bounds the values that one read of many keys answers; they are in memory
	// together on the node that the client talks to.
	MaxReplyBytes = 64 << 20

	// MaxSessionWindow bounds the answers that a shard keeps for one session.
	MaxSessionWindow = 1024
)
