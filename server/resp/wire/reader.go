package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/lightning-db/lightning/api"
)

// Bounds of a request. What is over a bound of ours but within Redis' own is read, thrown away
// and answered with an error that names the limit, so that the client sees why; what is over
// Redis' bounds ends the connection, as it does there.
const (
	// maxArgCount lets DEL and MGET name as many keys as a batch may have.
	maxArgCount = api.MaxBatchOps + 16
	// MaxCommandBytes bounds the arguments of one command together.
	MaxCommandBytes = api.MaxBatchBytes
	// maxLineBytes bounds an inline command and the lines with counts and lengths (Redis:
	// PROTO_INLINE_MAX_SIZE).
	maxLineBytes = 64 << 10
	// maxStrangeArgs and maxStrangeBytes are what a client that has not authenticated may send at
	// once. AUTH and HELLO need a fraction of it.
	maxStrangeArgs  = 10
	maxStrangeBytes = 4 << 10
	// maxProtocolArgCount and maxProtocolBulkBytes are Redis' own bounds.
	maxProtocolArgCount  = 1 << 20
	maxProtocolBulkBytes = 512 << 20
	// LargeCommandBytes is where a command counts as large: up to here the memory is bounded by
	// the number of connections, beyond by what reserve grants.
	LargeCommandBytes = 64 << 10
)

// ProtocolError is a request that cannot be read on behind; its text is Redis'.
type ProtocolError string

// Error implements error.
func (e ProtocolError) Error() string { return "Protocol error: " + string(e) }

// Reader takes requests off a connection. It holds at most one request that is not complete, a
// fixed buffer, and memory for small arguments.
type Reader struct {
	in *bufio.Reader
	// reserve is called before memory is taken for bytes beyond LargeCommandBytes. OVERLOADED
	// refuses the request, any other error ends the connection.
	reserve func(bytes int) error
	// claim is reserve for the declared length of an argument that is longer than api.MaxInlineBytes, before any
	// of it is read. first says that its command has claimed nothing yet: only then may it wait, so that
	// commands that hold one argument do not wait for each other's next.
	claim func(bytes int, first bool) error
	// MidCommand is true while part of a request has been read.
	MidCommand bool
	// Strange holds the reader to what a client needs to authenticate.
	Strange bool
	args    memory
}

// NewReader makes a reader. reserve and claim may wait.
func NewReader(in io.Reader, reserve func(bytes int) error, claim func(bytes int, first bool) error) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, 16<<10), reserve: reserve, claim: claim}
}

// Request is what one client sent at once.
type Request struct {
	Args [][]byte
	// Refused says why the request is not to be run; args then hold only what was read before.
	Refused error

	// Bytes are those of the arguments, with what each costs beside.
	Bytes    int
	reserved int  // bytes beyond LargeCommandBytes
	claimed  bool // some of them for a long argument
}

// Next reads one request. Its arguments are valid until Reuse. An error ends the connection.
func (r *Reader) Next() (Request, error) {
	for {
		r.args.begin()
		r.MidCommand = false
		first, err := r.in.ReadByte()
		if err != nil {
			return Request{}, err
		}
		r.MidCommand = true
		if err := r.in.UnreadByte(); err != nil {
			return Request{}, err
		}
		var q Request
		if first == '*' {
			err = r.multibulk(&q)
		} else {
			err = r.inline(&q)
		}
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return Request{}, err
		}
		if len(q.Args) > 0 || q.Refused != nil {
			return q, nil
		}
	}
}

// Reuse says that the arguments of all requests so far are not used any more.
func (r *Reader) Reuse() { r.args.reuse() }

// Keep says that they stay in use for as long as anyone likes.
func (r *Reader) Keep() { r.args = memory{} }

// line reads up to a line feed and takes the line end off. The result is valid until the next read.
func (r *Reader) line(tooLong string) ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if err == nil {
		return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
	}
	whole := append([]byte(nil), line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(whole) > maxLineBytes {
			return nil, ProtocolError(tooLong)
		}
		line, err = r.in.ReadSlice('\n')
		whole = append(whole, line...)
	}
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(whole[:len(whole)-1], []byte{'\r'}), nil
}

// number reads a line that is a sign of one byte and a decimal number.
func (r *Reader) number(tooLong, invalid string) (int64, error) {
	line, err := r.line(tooLong)
	if err != nil {
		return 0, err
	}
	n, ok := ParseNumber(line[1:])
	if !ok {
		return 0, ProtocolError(invalid)
	}
	return n, nil
}

// ParseNumber is strict, as Redis is: no plus sign, no spaces, no leading zeros.
func ParseNumber(b []byte) (int64, bool) {
	if len(b) > 0 && len(b) < 10 && b[0] > '0' && b[0] <= '9' {
		return parseShort(b)
	}
	if len(b) == 0 || len(b) > 20 || b[0] == '+' || b[0] == '0' && len(b) > 1 || b[0] == '-' && (len(b) == 1 || b[1] == '0') {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}

// parseShort is ParseNumber of what certainly does not overflow, and begins with a digit but 0.
func parseShort(b []byte) (int64, bool) {
	n := int64(0)
	for _, digit := range b {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = 10*n + int64(digit-'0')
	}
	return n, true
}

func (r *Reader) multibulk(q *Request) error {
	count, err := r.number("too big mbulk count string", "invalid multibulk length")
	if err != nil {
		return err
	}
	if count > maxProtocolArgCount {
		return ProtocolError("invalid multibulk length")
	}
	if r.Strange && count > maxStrangeArgs {
		return ProtocolError("unauthenticated multibulk length")
	}
	if count > maxArgCount {
		q.refuse("command of %d arguments is over the limit of %d", count, maxArgCount)
	}
	for range count {
		if err := r.bulk(q); err != nil {
			return err
		}
	}
	return nil
}

func (q *Request) refuse(format string, args ...any) {
	if q.Refused == nil {
		q.Refused = api.Errorf(api.CodeTooLarge, format, args...)
		if len(q.Args) > 1 {
			q.Args = q.Args[:1]
		}
	}
}

// argOverheadBytes is what an argument costs beside its bytes.
const argOverheadBytes = 32

func (r *Reader) bulk(q *Request) error {
	size, err := r.bulkLength()
	if err != nil {
		return err
	}
	q.Bytes += int(size) + argOverheadBytes
	if r.Strange && q.Bytes > maxStrangeBytes {
		return ProtocolError("unauthenticated bulk length")
	}
	switch {
	case size > api.MaxValueBytes:
		q.refuse("argument of %d bytes is over the limit of %d bytes for a value", size, api.MaxValueBytes)
	case q.Bytes > MaxCommandBytes+argOverheadBytes*len(q.Args):
		q.refuse("command of more than %d bytes is over the limit", MaxCommandBytes)
	}
	if q.Refused != nil {
		if _, err := io.CopyN(io.Discard, r.in, size); err != nil {
			return err
		}
		return r.bulkEnd()
	}
	arg, err := r.argument(q, int(size))
	if err != nil {
		return err
	}
	if q.Refused == nil {
		q.Args = r.args.add(arg)
	}
	return r.bulkEnd()
}

// argument reads the bytes of a bulk. Beyond what is allowed to a small request, memory is asked for as
// the bytes come, each time as much as there was: who only announces a large request, or stops in
// the middle, holds little more than it sent (UW1). If there is no room the rest is thrown away.
func (r *Reader) argument(q *Request, size int) ([]byte, error) {
	if size > api.MaxInlineBytes {
		return r.longArgument(q, size)
	}
	arg := r.args.bytes(min(size, max(0, LargeCommandBytes+q.reserved-(q.Bytes-size))))
	read := 0
	for {
		if _, err := io.ReadFull(r.in, arg[read:]); err != nil {
			return nil, err
		}
		if read = len(arg); read == size {
			return arg, nil
		}
		more := min(size-read, LargeCommandBytes+q.reserved)
		if err := r.reserve(more); isNoRoom(err) {
			q.Refused, q.Args = err, q.Args[:min(len(q.Args), 1)]
			_, err = io.CopyN(io.Discard, r.in, int64(size-read))
			return nil, err
		} else if err != nil {
			return nil, err
		}
		q.reserved += more
		bigger := make([]byte, read+more)
		copy(bigger, arg)
		arg = bigger
	}
}

// isNoRoom reports whether a request is refused, so that its arguments are thrown away and the connection goes on.
func isNoRoom(err error) bool {
	code := api.CodeOf(err)
	return code == api.CodeOverloaded || code == api.CodeTooLarge
}

// longArgument reads an argument for which there is room as a whole, or throws it away. The memory is taken as the
// bytes come, at most four times as much: who only announces a long argument holds room, and no memory (UW1).
func (r *Reader) longArgument(q *Request, size int) ([]byte, error) {
	err := r.claim(size, !q.claimed)
	if isNoRoom(err) {
		q.Refused, q.Args = err, q.Args[:min(len(q.Args), 1)]
		_, err = io.CopyN(io.Discard, r.in, int64(size))
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	q.claimed, q.reserved = true, q.reserved+size
	arg := make([]byte, LargeCommandBytes)
	for read := 0; ; {
		if _, err := io.ReadFull(r.in, arg[read:]); err != nil {
			return nil, err
		}
		if read = len(arg); read == size {
			return arg, nil
		}
		bigger := make([]byte, min(size, 4*read))
		copy(bigger, arg)
		arg = bigger
	}
}

func (r *Reader) bulkLength() (int64, error) {
	first, err := r.in.ReadByte()
	if err != nil {
		return 0, err
	}
	if first != '$' {
		return 0, ProtocolError(fmt.Sprintf("expected '$', got '%c'", printable(first)))
	}
	if err := r.in.UnreadByte(); err != nil {
		return 0, err
	}
	size, err := r.number("too big bulk count string", "invalid bulk length")
	if err != nil {
		return 0, err
	}
	if size < 0 || size > maxProtocolBulkBytes {
		return 0, ProtocolError("invalid bulk length")
	}
	return size, nil
}

func printable(c byte) byte {
	if c < ' ' || c > '~' {
		return '?'
	}
	return c
}

// bulkEnd reads the line end behind a bulk. Redis does not look at it; we do, because what is
// not there shows that the two sides have lost step.
func (r *Reader) bulkEnd() error {
	for _, want := range [2]byte{'\r', '\n'} {
		got, err := r.in.ReadByte()
		if err != nil {
			return err
		}
		if got != want {
			return ProtocolError("expected the end of a bulk")
		}
	}
	return nil
}

func (r *Reader) inline(q *Request) error {
	line, err := r.line("too big inline request")
	if err != nil {
		return err
	}
	if r.Strange && len(line) > maxStrangeBytes {
		return ProtocolError("too big inline request")
	}
	q.Bytes = len(line)
	args, ok := splitInline(line)
	if !ok {
		return ProtocolError("unbalanced quotes in request")
	}
	q.Args = args
	return nil
}

// splitInline splits a line as Redis' sdssplitargs does: blanks separate, double quotes know
// escapes, single quotes only \'.
func splitInline(line []byte) ([][]byte, bool) {
	var args [][]byte
	for {
		line = bytes.TrimLeft(line, " \t\r\n\v\f\x00")
		if len(line) == 0 {
			return args, true
		}
		arg, rest, ok := splitArg(line)
		if !ok {
			return nil, false
		}
		args, line = append(args, arg), rest
	}
}

func splitArg(line []byte) (arg, rest []byte, ok bool) {
	arg = []byte{}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', '\r', '\n', '\v', '\f', 0:
			return arg, line[i:], true
		case '"', '\'':
			quoted, n, closed := splitQuoted(line[i+1:], c)
			end := i + 1 + n
			if !closed || end < len(line) && !isBlank(line[end]) {
				return nil, nil, false
			}
			return append(arg, quoted...), line[end:], true
		default:
			arg = append(arg, c)
		}
	}
	return arg, nil, true
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' || c == 0 }

// splitQuoted reads up to the closing quote and tells how many bytes it took with it.
func splitQuoted(line []byte, quote byte) (arg []byte, n int, closed bool) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote:
			return arg, i + 1, true
		case c != '\\' || i+1 == len(line):
			arg = append(arg, c)
		case quote == '\'':
			if line[i+1] == '\'' {
				i++
			}
			arg = append(arg, line[i])
		default:
			var taken int
			arg, taken = appendEscape(arg, line[i+1:])
			i += taken
		}
	}
	return nil, 0, false
}

var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'a': '\a'}

// appendEscape decodes what stands behind a backslash; line is not empty.
func appendEscape(arg, line []byte) (_ []byte, taken int) {
	if line[0] == 'x' && len(line) >= 3 {
		if n, err := strconv.ParseUint(string(line[1:3]), 16, 8); err == nil {
			return append(arg, byte(n)), 3
		}
	}
	if c, ok := escapes[line[0]]; ok {
		return append(arg, c), 1
	}
	return append(arg, line[0]), 1
}
