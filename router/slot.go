package router

import (
	"bytes"

	"github.com/lightning-db/lightning/api"
)

// Slot is the hash slot of a user key, exactly as Redis Cluster computes it: CRC16/XMODEM of the
// key, or of its hash tag, modulo api.SlotCount. The hash tag is what stands between the first
// '{' and the first '}' after it, unless that is empty. Every namespace is hashed so far, so
// the namespace does not matter yet. (Redis Cluster specification, "Hash tags".)
func Slot(_ api.Namespace, key []byte) api.Slot {
	return api.Slot(crc16(hashTag(key)) % api.SlotCount)
}

func hashTag(key []byte) []byte {
	open := bytes.IndexByte(key, '{')
	if open < 0 {
		return key
	}
	tail := key[open+1:]
	if end := bytes.IndexByte(tail, '}'); end > 0 {
		return tail[:end]
	}
	return key
}

// crc16Polynomial is CRC-16/XMODEM: initial value 0, no reflection, no final xor.
const crc16Polynomial = 0x1021

var crc16Table = makeCRC16Table()

func makeCRC16Table() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ crc16Polynomial
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}

func crc16(b []byte) uint16 {
	var crc uint16
	for _, c := range b {
		crc = crc<<8 ^ crc16Table[byte(crc>>8)^c]
	}
	return crc
}
