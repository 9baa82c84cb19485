package backup

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
)

// ManifestName is the file that makes a directory a backup. It is written last.
const ManifestName = "MANIFEST"

const (
	manifestFormat = 1
	// maxManifestBytes is far more than a file for each slot needs.
	maxManifestBytes = 16 << 20
	sumDigits        = 8
)

// Manifest says what a backup is and of which files it consists.
type Manifest struct {
	Format int `json:"format"`
	// ID is hexadecimal.
	ID      string `json:"id"`
	Cluster string `json:"cluster"`
	// Version is that of the program that wrote it.
	Version string `json:"version"`
	// TimeMillis is when the backup began, by the clock of its writer.
	TimeMillis uint64 `json:"time_ms"`
	// Revision is that of the cluster map.
	Revision uint64 `json:"map_revision"`
	Count    int    `json:"shards"`
	// Shards are in the order of their slots. Each is a line of its own.
	Shards []Shard `json:"-"`
}

// Shard is the file of one shard.
type Shard struct {
	Shard api.ShardID `json:"shard"`
	File  string      `json:"file"`
	Start uint32      `json:"start_slot"`
	End   uint32      `json:"end_slot"`
	Epoch uint64      `json:"epoch"`
	// Index is the entry of the shard's log up to which its writes are in the file.
	Index uint64 `json:"applied_index"`
	// TimeMillis is the shard's time: what had expired by then is not in the file.
	TimeMillis uint64 `json:"shard_time_ms"`
	Rows       uint64 `json:"rows"`
	Bytes      uint64 `json:"bytes"`
	Size       int64  `json:"file_bytes"`
	SHA256     string `json:"sha256"`
}

func (s *Shard) arc() router.Arc { return router.Arc{Start: s.Start, End: s.End} }

func fileName(shard api.ShardID) string { return fmt.Sprintf("shard-%06d.rows", shard) }

// manifestEnd is the last line.
type manifestEnd struct {
	End bool `json:"end"`
}

// encode writes a line of JSON for the backup, one for each shard and one that is the end. Before each stands the
// checksum of all that is before it and of the line itself, so that the first line that is wrong is known.
func (m *Manifest) encode() []byte {
	var out []byte
	sum := uint32(0)
	line := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err) // numbers and texts only
		}
		sum = crc32.Update(sum, castagnoli, append(text, '\n'))
		out = append(fmt.Appendf(out, "%08x ", sum), append(text, '\n')...)
	}
	line(m)
	for i := range m.Shards {
		line(&m.Shards[i])
	}
	line(manifestEnd{true})
	return out
}

func (m *Manifest) id() (ID, error) {
	b, err := hex.DecodeString(m.ID)
	if err != nil || len(b) != idBytes || hex.EncodeToString(b) != m.ID {
		return ID{}, fmt.Errorf("%q is no id of a backup", m.ID)
	}
	return ID(b), nil
}

func decodeManifest(text []byte) (*Manifest, error) {
	p := manifestParser{text: text}
	m := &Manifest{}
	p.line(m)
	if _, err := m.id(); err != nil || m.Format != manifestFormat || m.Count < 0 || m.Count > api.SlotCount {
		p.fail("format %d of a backup is not known, or its id is wrong", m.Format)
	}
	for range m.Count {
		if p.err != nil {
			break
		}
		var s Shard
		p.line(&s)
		m.Shards = append(m.Shards, s)
	}
	var end manifestEnd
	p.line(&end)
	if !end.End {
		p.fail("the end is missing")
	}
	if p.next < len(text) {
		p.begin = p.next
		p.fail("%d bytes are behind the end", len(text)-p.next)
	}
	if p.err == nil && !bytes.Equal(m.encode(), text) {
		p.begin = 0
		p.fail("the manifest is in another form than it is written in")
	}
	if p.err == nil {
		p.begin = 0
		if err := tile(m.Shards); err != nil {
			p.fail("%v", err)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return m, nil
}

// manifestParser reads lines until the first one that is wrong.
type manifestParser struct {
	text        []byte
	begin, next int
	sum         uint32
	err         error
}

func (p *manifestParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = &Damage{ManifestName, int64(p.begin), fmt.Sprintf(format, args...)}
	}
}

func (p *manifestParser) line(to any) {
	if p.err != nil {
		return
	}
	p.begin = p.next
	length := bytes.IndexByte(p.text[p.begin:], '\n') + 1
	if length <= sumDigits+1 {
		p.fail("the manifest ends at %d, too early", len(p.text))
		return
	}
	line := p.text[p.begin : p.begin+length]
	p.next += length
	p.sum = crc32.Update(p.sum, castagnoli, line[sumDigits+1:])
	if string(line[:sumDigits+1]) != fmt.Sprintf("%08x ", p.sum) {
		p.fail("checksum mismatch")
		return
	}
	d := json.NewDecoder(bytes.NewReader(line[sumDigits+1:]))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		p.fail("%v", err)
	}
}

// tile fails unless the arcs own every slot once, in order, by files of their own (BK3).
func tile(shards []Shard) error {
	next := uint32(0)
	files := make(map[string]bool, len(shards))
	for i := range shards {
		s := &shards[i]
		if s.Start != next || s.End <= s.Start || s.End > api.SlotCount {
			return fmt.Errorf("slots %d to %d come where slot %d is to be", s.Start, s.End, next)
		}
		if files[s.File] || s.File != fileName(s.Shard) {
			return fmt.Errorf("%s is not the file of shard %d alone", s.File, s.Shard)
		}
		files[s.File], next = true, s.End
	}
	if next != api.SlotCount {
		return fmt.Errorf("slots from %d on are missing", next)
	}
	return nil
}

func sortShards(shards []Shard) {
	slices.SortFunc(shards, func(a, b Shard) int { return int(a.Start) - int(b.Start) })
}
