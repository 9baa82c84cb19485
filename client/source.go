package client

import (
	"bytes"
	"errors"
	"io"

	"github.com/lightning-db/lightning/api"
)

// source is a value that is uploaded: it comes from its caller piece by piece, once more for each attempt.
type source struct {
	reader io.Reader
	// seeker is nil for a reader that cannot go back; start is where the value begins.
	seeker io.Seeker
	start  int64

	length int64 // of the value, as far as is known; else the limit

	head  []byte // what was read before the first attempt
	taken int    // of head, in this attempt
	moved bool   // the reader has been read behind head
}

// bytesSource is a value in memory.
func bytesSource(value []byte) *source {
	r := bytes.NewReader(value)
	return &source{reader: r, seeker: r, length: int64(len(value))}
}

// readerSource reads the first piece of a value, after which only one that is long goes on. Whether a reader
// can go back it tells by doing so.
func readerSource(r io.Reader) (*source, error) {
	s := &source{reader: r, length: api.MaxValueBytes}
	if seeker, ok := r.(io.Seeker); ok {
		if err := s.measure(seeker); err != nil {
			return nil, readError(err).verdict()
		}
	}
	var head bytes.Buffer
	_, err := io.CopyN(&head, r, api.MaxInlineBytes+1)
	s.head = head.Bytes()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, readError(err).verdict()
	}
	return s, nil
}

// measure finds where the value begins and how long it is, if the reader can go back.
func (s *source) measure(seeker io.Seeker) error {
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe, for example
	}
	end, err := seeker.Seek(0, io.SeekEnd)
	if err != nil {
		return nil // where it is it has stayed
	}
	if s.seeker, s.start = seeker, start; end-start <= api.MaxValueBytes {
		s.length = end - start
	}
	_, err = seeker.Seek(start, io.SeekStart)
	return err
}

// short is a value that is read as a whole, for those that need no upload.
func (s *source) short() (value []byte, ok bool) {
	return s.head, len(s.head) <= api.MaxInlineBytes
}

// canBegin reports whether the value can be read from its beginning.
func (s *source) canBegin() bool { return !s.moved || s.seeker != nil }

// begin goes back to the beginning of the value.
func (s *source) begin() error {
	s.taken = 0
	if !s.moved {
		return nil
	}
	s.head, s.moved = nil, false
	_, err := s.seeker.Seek(s.start, io.SeekStart)
	return err
}

// fill reads the next piece, of the length of the buffer unless the value ends.
func (s *source) fill(buffer []byte) (n int, last bool, err error) {
	n = copy(buffer, s.head[s.taken:])
	s.taken += n
	if n == len(buffer) {
		return n, false, nil
	}
	s.moved = true
	more, err := io.ReadFull(s.reader, buffer[n:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n + more, true, nil
	}
	return n + more, false, err
}

// localError is a failure of the caller's own reader or writer, which no attempt can help.
type localError struct {
	code  api.Code
	doing string
	cause error
}

// Error implements error.
func (e *localError) Error() string { return e.doing + ": " + e.cause.Error() }

func readError(err error) *localError { return &localError{api.CodeInvalid, "read the value", err} }

func writeError(err error) *localError { return &localError{api.CodeInvalid, "write the value", err} }

// verdict is what the caller sees of it.
func (e *localError) verdict() *api.Error {
	return &api.Error{Code: e.code, Message: e.Error(), Cause: e.cause}
}
