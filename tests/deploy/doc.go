// Package deploy tests what lies in deploy/: that Kubernetes would read the manifests as they are
// meant, that the programs take the settings, ports and probes that the manifests give them, and
// that the image and the unit start what exists. It is a module of its own, because the types of
// Kubernetes are large.
//
// There is no Kubernetes here. Instead a test plays the kubelet and the controller of stateful sets: each pod is a process in a file system
// and a network namespace of its own, with the command, the environment and the files that the manifests describe. It asks the probes
// over the ports that they name, and ends the pods as a kubelet does. Time goes by faster for periods, and not for limits.
//
// # Goroutines
//
//   - One for each pod (livePod.live), started when the pod is created, and waited for when it is deleted.
//   - One for each process, which holds the thread that is in the pod's namespaces until the process has ended.
//   - Counters: started by a test, which stops them and waits for them.
//
// # Locks
//
// kubelet.mu and livePod.mu are leaves.
package deploy
