package rows

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/api"
)

// Prefix is the first byte of the engine key of every row of a user's key.
const Prefix = 0x01

// PartPrefix is the first byte of the engine key of a part of a value.
const PartPrefix = 0x02

// PartKeyBytes is the length of such a key.
const PartKeyBytes = 1 + 8 + 4

// AppendPartKey is the engine key of a part of a value.
func AppendPartKey(dst []byte, id api.Version, number uint32) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, PartPrefix), uint64(id))
	return binary.BigEndian.AppendUint32(dst, number)
}

// A user key is escaped so that engine keys sort as user keys do and none is a prefix of
// another: 0x00 becomes 0x00 0xff, and 0x00 0x01 ends the key.
const (
	escape           = 0x00
	escapedZero      = 0xff
	escapeTerminator = 0x01
)

// kindValue is the kind of a row that holds a whole value. Other kinds, for metadata rows and
// the members of data structures, come after it in the same place.
const kindValue = 0x01

// collectionDefault is the only collection so far.
const collectionDefault = 0

const headerBytes = 1 + 4 + 2

// MaxOverheadBytes is what a row takes beyond its user's key and value, if the key needs no escapes.
const MaxOverheadBytes = headerBytes + 3 + valueHeaderBytes

var errNotKey = errors.New("not the key of a value row")

// appendHeader begins the engine key of every row of a collection.
func appendHeader(dst []byte, ns api.Namespace) []byte {
	dst = append(dst, Prefix)
	dst = binary.BigEndian.AppendUint32(dst, uint32(ns))
	return binary.BigEndian.AppendUint16(dst, collectionDefault)
}

// appendUserKey escapes and terminates a user key.
func appendUserKey(dst, key []byte) []byte {
	for {
		i := bytes.IndexByte(key, escape)
		if i < 0 {
			dst = append(dst, key...)
			return append(dst, escape, escapeTerminator)
		}
		dst = append(dst, key[:i]...)
		dst = append(dst, escape, escapedZero)
		key = key[i+1:]
	}
}

// Key is the engine key of a user key's value row.
func Key(ns api.Namespace, key []byte) []byte {
	return AppendKey(make([]byte, 0, headerBytes+len(key)+3), ns, key)
}

// AppendKey is Key into a buffer.
func AppendKey(dst []byte, ns api.Namespace, key []byte) []byte {
	dst = appendHeader(dst, ns)
	dst = appendUserKey(dst, key)
	return append(dst, kindValue)
}

// Bounds are the engine keys [start, end) of the user keys [start, end) of a namespace; an empty
// end has no bound.
func Bounds(ns api.Namespace, start, end []byte) (lower, upper []byte) {
	lower = appendHeader(nil, ns)
	if len(start) > 0 {
		lower = appendUserKey(lower, start)
	}
	if len(end) == 0 {
		return lower, api.PrefixEnd(appendHeader(nil, ns))
	}
	return lower, appendUserKey(appendHeader(nil, ns), end)
}

// DecodeKey splits the engine key of a value row. The user key is appended to dst, which may be
// nil.
func DecodeKey(dst, engineKey []byte) (ns api.Namespace, userKey []byte, err error) {
	if len(engineKey) < headerBytes || engineKey[0] != Prefix {
		return 0, nil, fmt.Errorf("%w: prefix", errNotKey)
	}
	ns = api.Namespace(binary.BigEndian.Uint32(engineKey[1:]))
	if binary.BigEndian.Uint16(engineKey[5:]) != collectionDefault {
		return 0, nil, fmt.Errorf("%w: collection", errNotKey)
	}
	rest := engineKey[headerBytes:]
	for {
		i := bytes.IndexByte(rest, escape)
		if i < 0 || i+1 >= len(rest) {
			return 0, nil, fmt.Errorf("%w: no terminator", errNotKey)
		}
		dst = append(dst, rest[:i]...)
		mark := rest[i+1]
		rest = rest[i+2:]
		switch mark {
		case escapedZero:
			dst = append(dst, 0)
		case escapeTerminator:
			if len(rest) != 1 || rest[0] != kindValue {
				return 0, nil, fmt.Errorf("%w: kind", errNotKey)
			}
			return ns, dst, nil
		default:
			return 0, nil, fmt.Errorf("%w: escape", errNotKey)
		}
	}
}
