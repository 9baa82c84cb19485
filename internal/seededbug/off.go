//go:build !seededbug

package seededbug

// Enabled reports whether the bug is switched on. It is not in this build.
func Enabled(Bug) bool { return false }
