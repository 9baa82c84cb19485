package shard

import (
	"encoding/binary"
	"errors"

	"github.com/lightning-db/lightning/api"
)

// prefixSystem is the first byte of a system row's key. The rows of user keys begin with
// rows.Prefix and are laid out by that package, which embedded stores share (docs/formats/keys.md).
const prefixSystem = 0x00

// The second byte of a system row's key.
const (
	systemState         = 0x01
	systemConfiguration = 0x02
	systemSession       = 0x03
	// 0x04 and 0x05 are those of package parts.
)

// What follows the session in the key of a session's row and of its answers. The session's own
// row sorts before its answers.
const (
	sessionRow = 0x00
	answerRow  = 0x01
)

// stateRowKey is the key of the state row. Nobody changes it.
var stateRowKey = []byte{prefixSystem, systemState}

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

func appendSessionKey(dst []byte, s api.SessionID) []byte {
	return append(appendSessionPrefix(dst, s), sessionRow)
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
