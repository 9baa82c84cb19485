package rowcache

// Takes reports whether a row with a key and a value of such lengths may be put in.
func (c *Cache) Takes(keyBytes, valueBytes int) bool {
	return c != nil && keyBytes+valueBytes <= c.rowBytes
}
