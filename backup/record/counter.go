package record

import "fmt"

// Counter follows a stream of records: it refuses pieces that are out of place, and counts.
type Counter struct {
	Rows uint64
	// Bytes are those of keys and values.
	Bytes uint64

	missing uint64 // of the value that is under way
}

// Take takes the next record.
func (c *Counter) Take(r *Record) error {
	switch {
	case r.Kind == Piece && uint64(len(r.Value)) > c.missing:
		return fmt.Errorf("a piece of %d bytes where %d are missing: %w", len(r.Value), c.missing, ErrMalformed)
	case r.Kind == Piece:
		c.missing -= uint64(len(r.Value))
		c.Bytes += uint64(len(r.Value))
		return nil
	case c.missing > 0:
		return fmt.Errorf("a key where %d bytes of a value are missing: %w", c.missing, ErrMalformed)
	case r.Kind == Long:
		c.missing = r.ValueBytes
	}
	c.Rows++
	c.Bytes += uint64(len(r.Key)) + uint64(len(r.Value))
	return nil
}

// Whole fails while a value is under way.
func (c *Counter) Whole() error {
	if c.missing > 0 {
		return fmt.Errorf("the last value lacks %d bytes: %w", c.missing, ErrMalformed)
	}
	return nil
}

// Each decodes a block of whole records.
func Each(block []byte, visit func(*Record) error) error {
	for len(block) > 0 {
		r, rest, err := Decode(block)
		if err != nil {
			return err
		}
		if err := visit(&r); err != nil {
			return err
		}
		block = rest
	}
	return nil
}
