// Package jsontext carries bytes through JSON without losing any: as a text when they are UTF-8,
// as base64 when they are not.
//
// It is not a parser of JSON; encoding/json is. It knows where that one replaces what it cannot
// represent, which would store another value than was sent.
//
// # The life of some bytes
//
//  1. Split chooses the field: one for text, one for base64.
//  2. Who reads JSON asks Faithful about the whole text before decoding it.
//  3. Base64 decodes the second field, in any of the common forms.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
package jsontext
