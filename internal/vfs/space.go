package vfs

// Space is a file system that knows how much room it has. The machine's does, where the system tells.
type Space interface {
	// Space returns the bytes that may still be written below dir, and those that there are in all.
	Space(dir string) (free, total int64, err error)
}
