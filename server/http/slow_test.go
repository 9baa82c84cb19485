package http

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
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
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		l := &oneConnection{connections: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.connections <- there
		s := &http.Server{Handler: newFace(t).handler}
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		defer func() {
			_, _ = here.Close(), s.Close()
			<-done
		}()
		if _, err := io.WriteString(here, "PUT /v1/kv/k HTTP/1.1\r\nHost: node\r\nContent-Length: 10\r\n\r\nhalf"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(here), nil) // after a minute of the bubble's clock
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), "came too slowly") {
			t.Errorf("%s %s %v", response.Status, body, err)
		}
	})
}
