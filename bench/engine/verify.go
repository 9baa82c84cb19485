package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// verify reads the whole store and compares it with the stamps that the keys must have, zero meaning no key; then
// it gets some of the keys that are there and some that are not.
func verify(st store, stamps []uint64, valueBytes int) error {
	s, err := st.session()
	if err != nil {
		return err
	}
	v := &verifier{stamps: stamps, want: newValue(valueBytes)}
	err = s.scan(keyOf(0), len(stamps)+1, &seen{check: v.row})
	if err == nil && v.err == nil {
		v.skipAbsent(len(stamps))
		err = v.gets(s)
	}
	return errors.Join(err, v.err, s.close())
}

func keyOf(number int) []byte {
	key := make([]byte, keyBytes)
	putKey(key, number)
	return key
}

// verifier walks over the keys beside a scan.
type verifier struct {
	stamps []uint64
	want   []byte
	next   int
	err    error
}

func (v *verifier) fail(format string, args ...any) {
	if v.err == nil {
		v.err = fmt.Errorf(format, args...)
	}
}

// skipAbsent goes to a key; those before it must have no value.
func (v *verifier) skipAbsent(to int) {
	for ; v.next < to; v.next++ {
		if v.stamps[v.next] != 0 {
			v.fail("key %s is missing", keyOf(present(v.next)))
		}
	}
}

func (v *verifier) row(key, value []byte) {
	number := keyNumber(key)
	i := number / 2
	if number != present(i) || i < v.next || i >= len(v.stamps) {
		v.fail("key %q is out of place behind %s", key, keyOf(present(v.next)))
		return
	}
	v.skipAbsent(i)
	v.next = i + 1
	fillValue(v.want, v.stamps[i])
	if v.stamps[i] == 0 || !bytes.Equal(value, v.want) {
		v.fail("key %s: another value than the last one that was written", key)
	}
}

func (v *verifier) gets(s session) error {
	const each = 101
	for i := 0; i < len(v.stamps); i += each {
		value, ok, err := s.get(keyOf(present(i)), nil)
		if err != nil {
			return err
		}
		fillValue(v.want, v.stamps[i])
		if ok != (v.stamps[i] != 0) || ok && !bytes.Equal(value, v.want) {
			v.fail("get of key %s: another value than the last one that was written", keyOf(present(i)))
		}
		if _, ok, err := s.get(keyOf(absent(i)), nil); ok || err != nil {
			return fmt.Errorf("get of key %s, which was never written: %v %w", keyOf(absent(i)), ok, err)
		}
	}
	return nil
}

// verifyCounts checks that the stamps have been counted up so many times since the load.
func verifyCounts(st store, keys int, updates uint64) error {
	s, err := st.session()
	if err != nil {
		return err
	}
	var counted uint64
	all := seen{check: func(key, value []byte) {
		counted += binary.LittleEndian.Uint64(value) - stampOf(keyNumber(key), 0)
	}}
	err = s.scan(keyOf(0), keys+1, &all)
	if err == nil && (all.rows != keys || counted != updates) {
		err = fmt.Errorf("%d transactions were acknowledged, %d are counted in %d rows: updates are lost", updates, counted, all.rows)
	}
	return errors.Join(err, s.close())
}
