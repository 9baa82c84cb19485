package wire

// memory is where small arguments live until all of them are done with, so that they cost no
// allocation each. The zero value is ready.
type memory struct {
	chunk []byte   // arguments, one behind the other
	list  [][]byte // the arguments of requests, one request behind the other
	start int      // in list, of the request that is read
}

const (
	minChunkBytes = 1 << 10
	// maxChunkBytes is what a connection keeps between requests: as much as its buffer.
	maxChunkBytes = 16 << 10
	// maxListCount is beyond what most turns have.
	maxListCount = 256
)

// begin begins another request.
func (m *memory) begin() {
	if len(m.list) > maxListCount {
		m.list = nil // those before keep theirs
	}
	m.start = len(m.list)
}

// add adds an argument to the request and returns all that it has.
func (m *memory) add(arg []byte) [][]byte {
	m.list = append(m.list, arg)
	return m.list[m.start:len(m.list):len(m.list)]
}

// bytes are for one argument.
func (m *memory) bytes(size int) []byte {
	if size > cap(m.chunk)-len(m.chunk) {
		if size > maxChunkBytes/4 {
			return make([]byte, size)
		}
		m.chunk = make([]byte, 0, min(max(2*cap(m.chunk), 2*size, minChunkBytes), maxChunkBytes))
	}
	n := len(m.chunk)
	m.chunk = m.chunk[:n+size]
	return m.chunk[n : n+size : n+size]
}

func (m *memory) reuse() {
	m.chunk = m.chunk[:0]
	if cap(m.list) > 2*maxListCount {
		m.list = nil
	}
	clear(m.list)
	m.list, m.start = m.list[:0], 0
}
