package wire

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/api"
)

// maxPendingReplyBytes is how much of the replies to a pipeline is held before it is sent.
const maxPendingReplyBytes = 64 << 10

// Error is an error reply as it stands on the wire, without the minus sign.
type Error string

// Error implements error.
func (e Error) Error() string { return string(e) }

// CodedError is an Error with a code of the error table for the observer.
type CodedError struct {
	Text Error
	Code api.Code
}

// Coded makes a CodedError.
func Coded(text Error, code api.Code) CodedError { return CodedError{text, code} }

// Error implements error.
func (e CodedError) Error() string { return string(e.Text) }

// Reply encodes answers in the version of the protocol that the connection speaks. It belongs
// to the connection's goroutine.
type Reply struct {
	out io.Writer
	buf []byte
	// Version is that of the protocol, 2 or 3.
	Version int
	err     error
}

// Flush sends what is pending. The first error stays and everything after it is dropped.
func (r *Reply) Flush() error {
	if r.err == nil && len(r.buf) > 0 {
		_, r.err = r.out.Write(r.buf)
	}
	r.buf = r.buf[:0]
	return r.err
}

// NewReply makes a Reply that speaks RESP2.
func NewReply(out io.Writer) Reply { return Reply{out: out, Version: 2} }

// Redirect lets what follows go to another writer, and returns the one before. What is pending
// is sent first.
func (r *Reply) Redirect(to io.Writer) io.Writer {
	_ = r.Flush() // an error stays in r.err
	before := r.out
	r.out = to
	return before
}

// Pending is how many bytes wait for Flush.
func (r *Reply) Pending() int { return len(r.buf) }

// Err is the first error of writing.
func (r *Reply) Err() error { return r.err }

func (r *Reply) maybeFlush() {
	if len(r.buf) >= maxPendingReplyBytes {
		_ = r.Flush() // the error stays in r.err and ends the connection
	}
}

// header writes a type, a number and the end of the line.
func (r *Reply) header(kind byte, n int64) {
	r.buf = append(r.buf, kind)
	r.buf = strconv.AppendInt(r.buf, n, 10)
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

// Simple writes a status. The text must not hold line ends.
func (r *Reply) Simple(text string) {
	r.buf = append(r.buf, '+')
	r.buf = append(r.buf, text...)
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

// OK writes the usual status.
func (r *Reply) OK() { r.Simple("OK") }

// Integer writes a number.
func (r *Reply) Integer(n int64) { r.header(':', n) }

// Boolean writes 1 or 0.
func (r *Reply) Boolean(b bool) {
	if b {
		r.Integer(1)
		return
	}
	r.Integer(0)
}

// Bulk writes b; a large one goes to the socket without being copied.
func (r *Reply) Bulk(b []byte) {
	r.header('$', int64(len(b)))
	if len(b) < maxPendingReplyBytes {
		r.buf = append(r.buf, b...)
	} else if r.Flush() == nil {
		_, r.err = r.out.Write(b)
	}
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

// Pieces is a value that comes piece by piece; io.EOF stands behind the last one.
type Pieces interface {
	Next() ([]byte, error)
	Close()
}

// BulkPieces writes a value of size bytes, at least one, while it comes. If its first piece does not come it has written
// nothing; if a later one does not, the connection is broken, because the client waits for the rest.
func (r *Reply) BulkPieces(size int64, pieces Pieces) error {
	piece, err := pieces.Next()
	if err != nil {
		return err
	}
	r.header('$', size)
	left := size
	for ; err == nil && left >= int64(len(piece)); piece, err = pieces.Next() {
		left -= int64(len(piece))
		if r.Flush() == nil {
			_, r.err = r.out.Write(piece)
		}
		if r.err != nil {
			return nil
		}
	}
	switch {
	case err == nil || errors.Is(err, io.EOF) && left > 0:
		r.Break(errPieces)
	case errors.Is(err, io.EOF):
		r.buf = append(r.buf, '\r', '\n')
		r.maybeFlush()
	default:
		r.Break(err)
	}
	return nil
}

var errPieces = errors.New("the pieces of a value are not as long as it is")

// Break ends the connection in the middle of a reply: nothing more is written.
func (r *Reply) Break(err error) {
	if r.err == nil {
		r.buf, r.err = r.buf[:0], fmt.Errorf("a reply could not be finished: %w", err)
	}
}

// BulkString is Bulk of a string.
func (r *Reply) BulkString(s string) { r.Bulk([]byte(s)) }

// Text writes a string that RESP3 clients may show to people.
func (r *Reply) Text(s string) {
	if r.Version < 3 {
		r.BulkString(s)
		return
	}
	r.header('=', int64(len(s)+len("txt:")))
	r.buf = append(r.buf, "txt:"...)
	r.buf = append(r.buf, s...)
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

// Null writes that there is nothing.
func (r *Reply) Null() {
	if r.Version < 3 {
		r.buf = append(r.buf, "$-1\r\n"...)
	} else {
		r.buf = append(r.buf, "_\r\n"...)
	}
	r.maybeFlush()
}

// NullArray is the null in the place of an array.
func (r *Reply) NullArray() {
	if r.Version < 3 {
		r.buf = append(r.buf, "*-1\r\n"...)
		return
	}
	r.Null()
}

// Array begins an array.
func (r *Reply) Array(count int) { r.header('*', int64(count)) }

// Set begins a set; RESP2 has none and gets an array.
func (r *Reply) Set(count int) {
	if r.Version < 3 {
		r.Array(count)
		return
	}
	r.header('~', int64(count))
}

// Push begins a message that is not the answer to a request; RESP2 has none and gets an array.
func (r *Reply) Push(count int) {
	if r.Version < 3 {
		r.Array(count)
		return
	}
	r.header('>', int64(count))
}

// Dict begins a map of count pairs; RESP2 has none and gets an array.
func (r *Reply) Dict(count int) {
	if r.Version < 3 {
		r.Array(2 * count)
		return
	}
	r.header('%', int64(count))
}

var lineEnds = strings.NewReplacer("\r", " ", "\n", " ")

// Fail writes err by the error table: its first word is what clients decide by.
func (r *Reply) Fail(err error) {
	r.buf = append(r.buf, '-')
	r.buf = append(r.buf, lineEnds.Replace(ErrorText(err))...)
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

// ErrorText is an error as it stands on the wire, without the minus sign.
func ErrorText(err error) string {
	switch e := err.(type) {
	case Error:
		return string(e)
	case CodedError:
		return string(e.Text)
	}
	code := api.CodeOf(err)
	if text, ok := Texts[code]; ok {
		return text
	}
	return api.Row(code).RESP + " " + err.Error()
}

// Texts are the errors of operations in Redis' own words, which some clients compare.
var Texts = map[api.Code]string{
	api.CodeNotInteger: "ERR value is not an integer or out of range",
	api.CodeOverflow:   "ERR increment or decrement would overflow",
	api.CodeNotFloat:   "ERR value is not a valid float",
	api.CodeNotFound:   "ERR no such key",
}
