package corrupt

import (
	"errors"
	"fmt"
)

// Err is what every Error matches with errors.Is.
var Err = errors.New("data is corrupt")

// Error says where stored bytes are not what was written.
type Error struct {
	File     string // base name of the file
	Offset   int64  // where the damaged unit (block, footer, manifest) starts
	What     string // what was being checked, for example "block checksum"
	Expected string // what should have been there
	Found    string // what is there
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s at offset %d: expected %s, found %s: data is corrupt",
		e.File, e.What, e.Offset, e.Expected, e.Found)
}

// Is makes every Error match Err.
func (e *Error) Is(target error) bool { return target == Err }

// Sum reports a checksum that does not match.
func Sum(file string, offset int64, what string, expected, found uint32) *Error {
	return &Error{
		File: file, Offset: offset, What: what + " checksum",
		Expected: fmt.Sprintf("%08x", expected), Found: fmt.Sprintf("%08x", found),
	}
}

// Shape reports a length, count or order that cannot be.
func Shape(file string, offset int64, what string, expected, found any) *Error {
	return &Error{
		File: file, Offset: offset, What: what,
		Expected: fmt.Sprint(expected), Found: fmt.Sprint(found),
	}
}
