// Package recover is the verbs of lightning-cli that bring a cluster back which has lost a majority. What they do is package recovery.
package recover
