package main

import (
	"errors"
	"fmt"
	"io"
)

// countingReader tells a progress of what is read, and remembers why it failed: that is not the store's
// failure.
type countingReader struct {
	io.Reader
	to     *progress
	failed error
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.to.count(0, n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = fmt.Errorf("read the value: %w", err)
	}
	return n, err
}

// Seek implements io.Seeker, and fails for what cannot go back.
func (c *countingReader) Seek(offset int64, whence int) (int64, error) {
	if seeker, ok := c.Reader.(io.Seeker); ok {
		return seeker.Seek(offset, whence)
	}
	return 0, errors.ErrUnsupported
}

// countingWriter is a countingReader's twin for what is written.
type countingWriter struct {
	io.Writer
	to     *progress
	failed error
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.to.count(0, n)
	if err != nil {
		c.failed = fmt.Errorf("write the value: %w", err)
	}
	return n, err
}
