package shard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/api"
)

// The first byte of an engine key (docs/formats/keys.md).
const (
	prefixSystem = 0x00
	prefixData   = 0x01
)

// The second byte of a system row's key.
const (
	systemState         = 0x01
	systemConfiguration = 0x02
	systemSession       = 0x03
)

// What follows the session in the key of a session's row and of its answers. The session's own
// row sorts before its answers.
const (
	sessionRow = 0x00
	answerRow  = 0x01
)

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

const dataHeaderBytes = 1 + 4 + 2

var errNotDataKey = errors.New("not the key of a value row")

// appendDataHeader begins the engine key of every row of a collection.
func appendDataHeader(dst []byte, ns api.Namespace, collection uint16) []byte {
	dst = append(dst, prefixData)
	dst = binary.BigEndian.AppendUint32(dst, uint32(ns))
	return binary.BigEndian.AppendUint16(dst, collection)
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

// dataKey is the engine key of a user key's value row.
func dataKey(ns api.Namespace, key []byte) []byte {
	dst := make([]byte, 0, dataHeaderBytes+len(key)+3)
	dst = appendDataHeader(dst, ns, collectionDefault)
	dst = appendUserKey(dst, key)
	return append(dst, kindValue)
}

// dataBounds are the engine keys [start, end) of the user keys [start, end) of a namespace; an
// empty end has no bound.
func dataBounds(ns api.Namespace, start, end []byte) (lower, upper []byte) {
	lower = appendUserKey(appendDataHeader(nil, ns, collectionDefault), start)
	if len(start) == 0 {
		lower = appendDataHeader(nil, ns, collectionDefault)
	}
	if len(end) == 0 {
		return lower, api.PrefixEnd(appendDataHeader(nil, ns, collectionDefault))
	}
	return lower, appendUserKey(appendDataHeader(nil, ns, collectionDefault), end)
}

// decodeDataKey splits the engine key of a value row. The user key is appended to dst, which
// may be nil.
func decodeDataKey(dst, engineKey []byte) (ns api.Namespace, userKey []byte, err error) {
	if len(engineKey) < dataHeaderBytes || engineKey[0] != prefixData {
		return 0, nil, fmt.Errorf("%w: prefix", errNotDataKey)
	}
	ns = api.Namespace(binary.BigEndian.Uint32(engineKey[1:]))
	if binary.BigEndian.Uint16(engineKey[5:]) != collectionDefault {
		return 0, nil, fmt.Errorf("%w: collection", errNotDataKey)
	}
	rest := engineKey[dataHeaderBytes:]
	for {
		i := bytes.IndexByte(rest, escape)
		if i < 0 || i+1 >= len(rest) {
			return 0, nil, fmt.Errorf("%w: no terminator", errNotDataKey)
		}
		dst = append(dst, rest[:i]...)
		mark := rest[i+1]
		rest = rest[i+2:]
		switch mark {
		case escapedZero:
			dst = append(dst, 0)
		case escapeTerminator:
			if len(rest) != 1 || rest[0] != kindValue {
				return 0, nil, fmt.Errorf("%w: kind", errNotDataKey)
			}
			return ns, dst, nil
		default:
			return 0, nil, fmt.Errorf("%w: escape", errNotDataKey)
		}
	}
}

func stateKey() []byte { return []byte{prefixSystem, systemState} }

func configurationKey() []byte { return []byte{prefixSystem, systemConfiguration} }

const (
	sessionPrefixBytes = 2 + 8 + 8
	sessionKeyBytes    = sessionPrefixBytes + 1
)

// appendSessionPrefix begins the keys of a session's rows. Sessions sort by their creation time.
func appendSessionPrefix(dst []byte, s api.SessionID) []byte {
	dst = append(dst, prefixSystem, systemSession)
	dst = binary.BigEndian.AppendUint64(dst, s.CreatedMillis)
	return binary.BigEndian.AppendUint64(dst, s.Random)
}

func sessionKey(s api.SessionID) []byte {
	return append(appendSessionPrefix(make([]byte, 0, sessionKeyBytes), s), sessionRow)
}

func answerKey(s api.SessionID, sequence uint64) []byte {
	dst := append(appendSessionPrefix(make([]byte, 0, sessionKeyBytes+8), s), answerRow)
	return binary.BigEndian.AppendUint64(dst, sequence)
}

// sessionOfKey reads the session out of the key of its row or of one of its answers.
func sessionOfKey(engineKey []byte) (s api.SessionID, kind byte, err error) {
	if len(engineKey) < sessionKeyBytes || engineKey[0] != prefixSystem || engineKey[1] != systemSession {
		return api.SessionID{}, 0, errors.New("not the key of a session")
	}
	s.CreatedMillis = binary.BigEndian.Uint64(engineKey[2:])
	s.Random = binary.BigEndian.Uint64(engineKey[10:])
	return s, engineKey[sessionPrefixBytes], nil
}

// allSessions are the engine keys [start, end) of every session row and answer.
func allSessions() (start, end []byte) {
	return []byte{prefixSystem, systemSession}, []byte{prefixSystem, systemSession + 1}
}
