//go:build !linux

package hugepage

func advise([]byte) {}

func mapMemory(int) []byte { return nil }

func dropMemory([]byte)  {}
func unmapMemory([]byte) {}

func pageBytes() int { return Bytes }
