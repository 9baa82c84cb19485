//go:build !race

package lightningtest_test

import "github.com/lightning-db/lightning/api"

const largestBytes = api.MaxValueBytes
