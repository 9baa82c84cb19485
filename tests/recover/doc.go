// Package recover kills the majority of a cluster for good, brings the rest back with lightning-cli recover, and looks at what is left.
package recover
