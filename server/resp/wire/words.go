package wire

// The errors that many commands share; their texts are Redis'.
const (
	ErrSyntax     = Error("ERR syntax error")
	ErrNotInteger = Error("ERR value is not an integer or out of range")
)

// ErrArity is the error of a command with too few or too many arguments.
func ErrArity(name string) error {
	return Error("ERR wrong number of arguments for '" + name + "' command")
}

const (
	// MaxWordBytes is more than any name of a command or option has.
	MaxWordBytes = 40
	// MaxEchoBytes is how much of an argument an error repeats, as in Redis.
	MaxEchoBytes = 128
)

// Echo is as much of an argument as an error repeats.
func Echo(arg []byte) string { return string(arg[:min(len(arg), MaxEchoBytes)]) }

// Option is an argument that is a word of the protocol, in lower case. Only ASCII letters have a
// lower case there. What is longer than any word is cut and stays no word.
func Option(arg []byte) string {
	var lower [MaxWordBytes]byte
	n := copy(lower[:], arg)
	for i, b := range lower[:n] {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	return string(lower[:n])
}
