//go:build race

package lightningtest_test

import "github.com/lightning-db/lightning/api"

// largestBytes is what takes all ways of a value that is too long for one piece: the race detector finds no more in a longer
// one, for which it needs a minute.
const largestBytes = api.MaxWholeBytes + 1
