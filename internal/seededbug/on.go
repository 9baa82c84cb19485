//go:build seededbug

package seededbug

import "os"

var chosen = Bug(os.Getenv("LIGHTNING_SEEDED_BUG"))

// Enabled reports whether the bug is switched on.
func Enabled(b Bug) bool { return chosen == b }
