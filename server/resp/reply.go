package resp

import (
	"io"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/api"
)

// maxPendingReplyBytes is how much of the replies to a pipeline is held before it is sent.
const maxPendingReplyBytes = 64 << 10

// replyError is an error reply as it stands on the wire, without the minus sign.
type replyError string

// Error implements error.
func (e replyError) Error() string { return string(e) }

// codedError is a replyError with a code of its own for the observer.
type codedError struct {
	replyError
	code api.Code
}

// The errors that many commands share; their texts are Redis'.
const (
	errSyntax     = replyError("ERR syntax error")
	errNotInteger = replyError("ERR value is not an integer or out of range")
)

// reply encodes answers in the version of the protocol that the connection speaks. It belongs
// to the connection's goroutine.
type reply struct {
	out     io.Writer
	buf     []byte
	version int // 2 or 3
	err     error
}

// flush sends what is pending. The first error stays and everything after it is dropped.
func (r *reply) flush() error {
	if r.err == nil && len(r.buf) > 0 {
		_, r.err = r.out.Write(r.buf)
	}
	r.buf = r.buf[:0]
	return r.err
}

func (r *reply) maybeFlush() {
	if len(r.buf) >= maxPendingReplyBytes {
		_ = r.flush() // the error stays in r.err and ends the connection
	}
}

// header writes a type, a number and the end of the line.
func (r *reply) header(kind byte, n int64) {
	r.buf = append(r.buf, kind)
	r.buf = strconv.AppendInt(r.buf, n, 10)
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

// simple writes a status. The text must not hold line ends.
func (r *reply) simple(text string) {
	r.buf = append(r.buf, '+')
	r.buf = append(r.buf, text...)
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

func (r *reply) ok() { r.simple("OK") }

func (r *reply) integer(n int64) { r.header(':', n) }

func (r *reply) boolean(b bool) {
	if b {
		r.integer(1)
		return
	}
	r.integer(0)
}

// bulk writes b; a large one goes to the socket without being copied.
func (r *reply) bulk(b []byte) {
	r.header('$', int64(len(b)))
	if len(b) < maxPendingReplyBytes {
		r.buf = append(r.buf, b...)
	} else if r.flush() == nil {
		_, r.err = r.out.Write(b)
	}
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

func (r *reply) bulkString(s string) { r.bulk([]byte(s)) }

// text writes a string that RESP3 clients may show to people.
func (r *reply) text(s string) {
	if r.version < 3 {
		r.bulkString(s)
		return
	}
	r.header('=', int64(len(s)+len("txt:")))
	r.buf = append(r.buf, "txt:"...)
	r.buf = append(r.buf, s...)
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

func (r *reply) null() {
	if r.version < 3 {
		r.buf = append(r.buf, "$-1\r\n"...)
	} else {
		r.buf = append(r.buf, "_\r\n"...)
	}
	r.maybeFlush()
}

// nullArray is the null in the place of an array.
func (r *reply) nullArray() {
	if r.version < 3 {
		r.buf = append(r.buf, "*-1\r\n"...)
		return
	}
	r.null()
}

func (r *reply) array(count int) { r.header('*', int64(count)) }

// set begins a set; RESP2 has none and gets an array.
func (r *reply) set(count int) {
	if r.version < 3 {
		r.array(count)
		return
	}
	r.header('~', int64(count))
}

// push begins a message that is not the answer to a request; RESP2 has none and gets an array.
func (r *reply) push(count int) {
	if r.version < 3 {
		r.array(count)
		return
	}
	r.header('>', int64(count))
}

// dict begins a map of count pairs; RESP2 has none and gets an array.
func (r *reply) dict(count int) {
	if r.version < 3 {
		r.array(2 * count)
		return
	}
	r.header('%', int64(count))
}

var lineEnds = strings.NewReplacer("\r", " ", "\n", " ")

// error writes err by the error table: its first word is what clients decide by.
func (r *reply) error(err error) {
	r.buf = append(r.buf, '-')
	r.buf = append(r.buf, lineEnds.Replace(errorText(err))...)
	r.buf = append(r.buf, '\r', '\n')
	r.maybeFlush()
}

func errorText(err error) string {
	switch e := err.(type) {
	case replyError:
		return string(e)
	case codedError:
		return string(e.replyError)
	}
	code := api.CodeOf(err)
	if text, ok := redisTexts[code]; ok {
		return text
	}
	return api.Row(code).RESP + " " + err.Error()
}

// redisTexts are the errors of operations in Redis' own words, which some clients compare.
var redisTexts = map[api.Code]string{
	api.CodeNotInteger: string(errNotInteger),
	api.CodeOverflow:   "ERR increment or decrement would overflow",
	api.CodeNotFloat:   "ERR value is not a valid float",
	api.CodeNotFound:   "ERR no such key",
}
