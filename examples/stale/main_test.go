package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

func TestBothKindsOfReadsAnswer(t *testing.T) {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	db, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var out strings.Builder
	if err := run(t.Context(), db, time.Second, 10, &out); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^as it is: price = "42", \S+ a read\nat most 1s old: price = "42", \S+ a read\n$`)
	if !want.MatchString(out.String()) {
		t.Errorf("got\n%s", out.String())
	}
}
