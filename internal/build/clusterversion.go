package build

import (
	"strconv"
	"sync"
)

// clusterVersion is raised by hand whenever a build begins to write entries that the one before does not know. Tests set it by -ldflags -X, to have
// a build of the future.
var clusterVersion = "1"

// maxClusterVersion leaves room in a byte for the format of entries.
const maxClusterVersion = 200

// ClusterVersion is the newest cluster version that this build can work at. It can work at the one before as well, and writes nothing newer than
// the version that the cluster map says.
var ClusterVersion = sync.OnceValue(func() uint32 {
	n, err := strconv.ParseUint(clusterVersion, 10, 32)
	if err != nil || n == 0 || n > maxClusterVersion {
		return 1
	}
	return uint32(n)
})
