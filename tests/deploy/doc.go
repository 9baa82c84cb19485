// Package deploy tests what lies in deploy/: that Kubernetes would read the manifests as they are
// meant, that the programs take the settings, ports and probes that the manifests give them, and
// that the image and the unit start what exists. It is a module of its own, because the types of
// Kubernetes are large.
//
// There is no Kubernetes here. Instead a test plays the kubelet: it starts one process for each
// pod with the command, the environment and the files that the manifests describe, asks the probes
// over the ports that they name, and ends the pods as a kubelet does.
package deploy
