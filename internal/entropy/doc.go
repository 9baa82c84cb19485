// Package entropy is randomness as a seam: identities and session numbers take their bits from
// a Source, so that tests can repeat a run.
package entropy
