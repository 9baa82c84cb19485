package jsontext

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Split gives the one of two fields that can hold b; the other is nil. encoding/json makes the
// second one base64. binary is b itself, not a copy.
func Split(b []byte) (text *string, binary *[]byte) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	return nil, &b
}

// Faithful reports whether encoding/json reads every text in some JSON as it is: the bytes are
// UTF-8, and no escape such as \ud800 is half a character.
func Faithful(json []byte) bool {
	if !utf8.Valid(json) {
		return false
	}
	for i := 0; i+1 < len(json); i++ {
		if json[i] != '\\' {
			continue
		}
		unit := escapedUnit(json[i:])
		switch {
		case isLow(unit):
			return false
		case unit >= 0xd800 && unit < 0xdc00:
			if !isLow(escapedUnit(json[min(i+6, len(json)):])) {
				return false
			}
			i += 11 // both halves
		default:
			i++ // what is escaped begins no escape
		}
	}
	return true
}

func isLow(unit int64) bool { return unit >= 0xdc00 && unit < 0xe000 }

// escapedUnit is the number of the \u escape that b begins with, -1 if it begins with none.
func escapedUnit(b []byte) int64 {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int64(n)
}

var errNotBase64 = errors.New("not base64")

// Base64 takes both alphabets, with and without padding. The error does not repeat the text.
func Base64(text string) ([]byte, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	decoded, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, errNotBase64
	}
	return decoded, nil
}
