// Package testkit is what tests of several packages share: waiting for a condition, seeds,
// loggers. It is not a place for fakes: those live with the seam that they fill.
package testkit
