// Command etcd is the etcd server, unchanged: its own module cannot be installed by name, because
// it has replace directives.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
