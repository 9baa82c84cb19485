// Command program prints what it was built from, for the test of the linker's flags.
package main

import (
	"encoding/json"
	"os"

	"github.com/lightning-db/lightning/internal/build"
)

func main() {
	if err := json.NewEncoder(os.Stdout).Encode(build.Current()); err != nil {
		panic(err)
	}
}
