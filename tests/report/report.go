package report

import (
	"fmt"
	"os"
	"sync"
)

// Variable names the environment variable that has the path of the file for lines; without it they are only printed.
const Variable = "LIGHTNING_CHAOS_LINES"

var mu sync.Mutex

// Add prints a line and keeps it for the report.
func Add(section, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	mu.Lock()
	defer mu.Unlock()
	fmt.Printf("    %s: %s\n", section, line)
	path := os.Getenv(Variable)
	if path == "" {
		return
	}
	if err := write(path, section+"\t"+line+"\n"); err != nil {
		fmt.Fprintf(os.Stderr, "the report lacks a line: %v\n", err)
	}
}

func write(path, line string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}
