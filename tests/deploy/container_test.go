package deploy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// sandbox is where the processes of a pod run: a file system that has what the image and the mounts have, a network namespace, and
// the user of the manifests.
type sandbox struct {
	root, space string
	env         []string
	user        *syscall.Credential
}

// process is one that runs in a sandbox.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of the end; read it when done is closed
	log  lockedBuffer
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// start runs a program of the image.
func (s *sandbox) start(program string, args ...string) (*process, error) {
	p := &process{done: make(chan struct{}), cmd: exec.Command(program, args...)}
	p.cmd.Env, p.cmd.Dir = s.env, "/"
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.root, Credential: s.user, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The thread is in the namespace from now on, so it ends with the goroutine; and not before the process, which would be killed.
		runtime.LockOSThread()
		err := s.enter()
		if err == nil {
			err = p.cmd.Start()
		}
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		close(p.done)
	}()
	return p, <-started
}

// enter takes the thread into the namespaces of the pod: of its network, and of its mounts, among which is /proc.
func (s *sandbox) enter() error {
	f, err := os.Open("/run/netns/" + s.space)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("proc", filepath.Join(s.root, "proc"), "proc", 0, "")
}

// exec is kubectl exec: it runs a program of the image in the pod and returns what it prints.
func (s *sandbox) exec(ctx context.Context, program string, args ...string) (string, error) {
	p, err := s.start(program, args...)
	if err != nil {
		return "", err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	if p.err != nil {
		return "", errors.New(p.log.String() + p.err.Error())
	}
	return p.log.String(), nil
}

// newSandbox makes the file system of a pod: the image is the programs in its root and an empty /data.
func newSandbox(t *testing.T, s stage, dir, space string, ordinal int) *sandbox {
	t.Helper()
	box := &sandbox{root: dir, space: space, user: user(s.m)}
	for _, program := range []string{"lightning-node", "lightning-cli"} {
		if err := os.Link(filepath.Join(s.image, program), filepath.Join(dir, program)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "proc"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, mountPath(t, s.m, "config"), "lightning.yaml"), read(t, base("lightning.yaml")), 0o644)
	mountSecrets(t, s.m, s.made, dir)
	box.newVolume(t, s.m)
	for name, value := range podEnvironment(t, s.m, ordinal) {
		box.env = append(box.env, name+"="+value)
	}
	if len(s.m.container().Command) > 0 {
		t.Fatal("the container has a command of its own, and the image's is run here")
	}
	return box
}

// newVolume puts an empty volume in the place of the one that is there.
func (s *sandbox) newVolume(t *testing.T, m manifests) {
	t.Helper()
	data := filepath.Join(s.root, mountPath(t, m, "data"))
	if err := errors.Join(os.RemoveAll(data), os.Mkdir(data, 0o700), os.Chown(data, int(s.user.Uid), int(s.user.Gid))); err != nil {
		t.Fatal(err)
	}
}

// hosts is what the names of the headless service and of its pods are.
func (s *sandbox) hosts(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(s.root, "etc/hosts")
	write(t, path+".new", []byte(text), 0o644)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// orOne is a number of a probe whose default is 1.
func orOne(n int32) int32 { return max(n, 1) }

// threshold is how many failures in a row count.
func threshold(p *corev1.Probe) int {
	if p.FailureThreshold == 0 {
		return 3
	}
	return int(p.FailureThreshold)
}
