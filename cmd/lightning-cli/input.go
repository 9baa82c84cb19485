package main

import (
	"context"
	"io"
)

// inputBuffer is how much of the input one read takes.
const inputBuffer = 64 << 10

// interruptible reads from an input that may be silent for ever, such as a terminal or a pipe, and
// stops waiting when the context ends. The read that was under way is left behind with a buffer of
// its own; the process ends soon after.
type interruptible struct {
	ctx  context.Context
	from io.Reader

	buffer []byte // what is read and not taken
	err    error  // what follows the buffer
}

func (i *interruptible) Read(p []byte) (int, error) {
	if len(i.buffer) == 0 && i.err == nil {
		i.fill()
	}
	n := copy(p, i.buffer)
	i.buffer = i.buffer[n:]
	if n == 0 {
		return 0, i.err
	}
	return n, nil
}

func (i *interruptible) fill() {
	type read struct {
		buffer []byte
		err    error
	}
	done := make(chan read, 1) // nobody may be there to take it
	go func() {
		buffer := make([]byte, inputBuffer)
		n, err := i.from.Read(buffer)
		done <- read{buffer[:n], err}
	}()
	select {
	case r := <-done:
		i.buffer, i.err = r.buffer, r.err
	case <-i.ctx.Done():
		i.err = context.Cause(i.ctx)
	}
}
