package manifest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Name is the file's name in the store's directory.
const Name = "MANIFEST"

// LevelCount is how many levels there are; 0 is the newest.
const LevelCount = 7

const (
	magic         = "LDBmanif"
	formatVersion = 2
	headerBytes   = 12 // magic, format version
	sumBytes      = 4
)

const (
	flagUnordered = 1 << 0
	flagLogUsed   = 1 << 1
	flagFamilies  = 1 << 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// State is everything that a store needs to know besides what is in its tables.
type State struct {
	NextFile       uint64 // above every file number in use or ever used
	LastSequence   uint64
	LastVersion    uint64
	Floor          uint64 // below it versions were dropped whatever the horizon says
	Unordered      bool   // some row was given a lower version than one before it
	PositionIndex  uint64
	PositionTerm   uint64
	HorizonVersion uint64
	HorizonExpiry  uint64
	LastBatch      uint64 // number of the last batch in the tables
	LogSegment     uint64 // the log's segments of a lower number are not needed
	LogUsed        bool   // that segment is needed
	Families       bool   // every key has the prefix of a column family
	Tables         []Table
}

// Table names one table.
type Table struct {
	Level  int
	Number uint64
	Size   uint64 // length of the file
}

func (s *State) numbers() []*uint64 {
	return []*uint64{
		&s.NextFile, &s.LastSequence, &s.LastVersion, &s.Floor,
		&s.PositionIndex, &s.PositionTerm, &s.HorizonVersion, &s.HorizonExpiry,
		&s.LastBatch, &s.LogSegment,
	}
}

// Encode gives the file's bytes:
//
//	magic (8) | format version (uint32) | body | CRC32C of all before (uint32)
//	body   ten uvarints in the order of numbers | flags (1) | number of tables (uvarint)
//	       | per table: level (1), number (uvarint), size (uvarint)
func (s *State) Encode() []byte {
	b := append([]byte(nil), magic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	for _, n := range s.numbers() {
		b = binary.AppendUvarint(b, *n)
	}
	flags := byte(0)
	if s.Unordered {
		flags |= flagUnordered
	}
	if s.LogUsed {
		flags |= flagLogUsed
	}
	if s.Families {
		flags |= flagFamilies
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(len(s.Tables)))
	for _, t := range s.Tables {
		b = append(b, byte(t.Level))
		b = binary.AppendUvarint(b, t.Number)
		b = binary.AppendUvarint(b, t.Size)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Decode reads the file's bytes. Any damage is a corrupt.Error.
func Decode(b []byte) (*State, error) {
	if len(b) < headerBytes+sumBytes {
		return nil, corrupt.Shape(Name, 0, "length of file", "16 bytes or more", len(b))
	}
	body := b[:len(b)-sumBytes]
	expected, found := binary.LittleEndian.Uint32(b[len(body):]), crc32.Checksum(body, castagnoli)
	if expected != found {
		return nil, corrupt.Sum(Name, 0, "manifest", expected, found)
	}
	if string(body[:8]) != magic {
		return nil, corrupt.Shape(Name, 0, "magic", magic, "something else")
	}
	if v := binary.LittleEndian.Uint32(body[8:]); v != formatVersion {
		return nil, corrupt.Shape(Name, 8, "format version", formatVersion, v)
	}
	s := &State{}
	if !s.decodeBody(body[headerBytes:]) {
		return nil, corrupt.Shape(Name, headerBytes, "manifest", "well-formed bytes", "malformed ones")
	}
	return s, nil
}

func (s *State) decodeBody(b []byte) bool {
	for _, n := range s.numbers() {
		v, w := binary.Uvarint(b)
		if w <= 0 {
			return false
		}
		*n, b = v, b[w:]
	}
	if len(b) == 0 || b[0]&^(flagUnordered|flagLogUsed|flagFamilies) != 0 {
		return false
	}
	s.Unordered, s.LogUsed, s.Families, b = b[0]&flagUnordered != 0, b[0]&flagLogUsed != 0, b[0]&flagFamilies != 0, b[1:]
	count, w := binary.Uvarint(b)
	if w <= 0 || count > uint64(len(b)-w)/3 {
		return false
	}
	b = b[w:]
	seen := make(map[uint64]bool, count)
	for range count {
		t, rest, ok := takeTable(b)
		if !ok || t.Level >= LevelCount || t.Number >= s.NextFile || seen[t.Number] {
			return false
		}
		seen[t.Number] = true
		s.Tables, b = append(s.Tables, t), rest
	}
	return len(b) == 0
}

func takeTable(b []byte) (t Table, rest []byte, ok bool) {
	if len(b) == 0 {
		return t, nil, false
	}
	t.Level, b = int(b[0]), b[1:]
	for _, n := range []*uint64{&t.Number, &t.Size} {
		v, w := binary.Uvarint(b)
		if w <= 0 {
			return t, nil, false
		}
		*n, b = v, b[w:]
	}
	return t, b, true
}

// maxFileBytes is more than the manifest of millions of tables has. It bounds what is read into memory of a file whose length is
// damaged.
const maxFileBytes = 64 << 20

// Load reads the state of a directory; nil means that there is no manifest.
func Load(fs vfs.FS, dir string) (*State, error) {
	b, err := vfs.ReadShortFile(fs, dir+"/"+Name, maxFileBytes)
	if vfs.IsNotExist(err) {
		return nil, nil
	}
	if errors.Is(err, vfs.ErrTooLong) {
		return nil, corrupt.Shape(Name, maxFileBytes, "length of file", fmt.Sprintf("at most %d", maxFileBytes), "more")
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return Decode(b)
}

// Store replaces the state of a directory. On return it is durable; after an error either the
// old state or the new one is what a reopened store will find.
func Store(fs vfs.FS, dir string, s *State) error {
	if seededbug.Enabled(seededbug.EngineManifestInPlace) {
		return storeInPlace(fs, dir, s)
	}
	if err := vfs.WriteFileAtomic(fs, dir, Name, s.Encode()); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// storeInPlace is the bug EngineManifestInPlace.
func storeInPlace(fs vfs.FS, dir string, s *State) error {
	f, err := fs.Create(dir + "/" + Name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(s.Encode()); err != nil {
		return err
	}
	return errors.Join(f.Sync(), fs.SyncDir(dir))
}
