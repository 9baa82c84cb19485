package main

import (
	"strings"
	"testing"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

func TestTheTourSucceeds(t *testing.T) {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	var out strings.Builder
	if err := run(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial}, &out); err != nil {
		t.Fatal(err)
	}
	want := `get    planet:3 = Earth
scan   planet:1 = Mercury
scan   planet:2 = Venus
scan   planet:3 = Earth
put    planet:3 if unchanged: true
incr   visits = 1
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
