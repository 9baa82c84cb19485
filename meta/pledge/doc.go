// Package pledge lets N strangers agree, once, who forms a cluster.
package pledge
