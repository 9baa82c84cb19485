package http

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// oneConnection is a listener that accepts one connection.
type oneConnection struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (l *oneConnection) Accept() (net.Conn, error) {
	select {
	case c := <-l.connections:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConnection) Close() error   { close(l.closed); return nil }
func (l *oneConnection) Addr() net.Addr { return &net.UnixAddr{} }

func TestABodyThatComesTooSlowlyIsAnswered(t *testing.T) {
	answerTo(t, newFace(t), "half", http.StatusBadRequest, "came too slowly")
}

// A long value takes turns with others: its sender is not too slow while the store does not ask for more.
func TestABodyMayWaitForItsTurn(t *testing.T) {
	f := newFace(t)
	f.store.before = func() { <-time.After(bodyTimeout) }
	answerTo(t, f, "0123456789", http.StatusOK, "version")
}

// answerTo sends what there is of a body of ten bytes, and waits for the answer for as long as it takes by the bubble's clock.
func answerTo(t *testing.T, f *face, sent string, status int, fragment string) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		l := &oneConnection{connections: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.connections <- there
		s := &http.Server{Handler: f.handler}
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		defer func() {
			_, _ = here.Close(), s.Close()
			<-done
		}()
		if _, err := io.WriteString(here, "PUT /v1/kv/k HTTP/1.1\r\nHost: node\r\nContent-Length: 10\r\n\r\n"+sent); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(here), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != status || !strings.Contains(string(body), fragment) {
			t.Errorf("%s %s %v", response.Status, body, err)
		}
	})
}
