package deploy

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// compressed is how much faster time goes by for the periods of probes, the hook before a stop, and the wait before a container starts
// again. How long a probe and a stop may take is as in the manifests.
const compressed = 20

const restartPause = 10 * time.Second / compressed

// kubelet runs the pods of the stateful set as processes of the real programs: each in a file system and a network namespace of its own,
// with the command, environment, mounts, probes, hook, grace and user of the manifests. It does what the controller of stateful sets does as
// well. Pods get another address in each life; names lead to them as the headless service's would.
type kubelet struct {
	stage
	t       *testing.T
	network *podNetwork

	mu   sync.Mutex
	pods map[int]*livePod
	box  map[int]*sandbox // of each ordinal: its volume outlives the pod
}

// livePod is a pod from its creation to its deletion.
type livePod struct {
	k       *kubelet
	ordinal int
	box     *sandbox
	pod     *pod // how it is reached

	deleted chan struct{}
	gone    chan struct{} // closed when its last process has ended

	mu       sync.Mutex
	process  *process
	ready    bool
	restarts int
	probes   int // of liveness, that passed
	why      string
}

func newKubelet(t *testing.T) *kubelet {
	t.Helper()
	k := &kubelet{network: newPodNetwork(t), t: t, pods: map[int]*livePod{}, box: map[int]*sandbox{}}
	k.stage = newStage(t)
	t.Cleanup(func() {
		for _, p := range k.all() {
			if t.Failed() {
				t.Logf("%s, ready %t, %d restarts, %s:\n%s", p.name(), p.isReady(), p.restarts, p.why, p.tail())
			}
			p.signal(syscall.SIGKILL)
			p.delete()
			<-p.gone
		}
	})
	return k
}

func (p *livePod) name() string { return fmt.Sprintf("%s-%d", p.k.m.set.Name, p.ordinal) }

func (k *kubelet) all() (list []*livePod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		list = append(list, p)
	}
	return list
}

func (k *kubelet) get(ordinal int) *livePod {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pods[ordinal]
}

// create starts a pod, with the volume that its name has.
func (k *kubelet) create(ordinal int) *livePod {
	k.t.Helper()
	box := k.box[ordinal]
	if box == nil {
		box = newSandbox(k.t, k.stage, newVolumes(k.t), k.network.join(), ordinal)
		k.box[ordinal] = box
	}
	p := &livePod{k: k, ordinal: ordinal, box: box, deleted: make(chan struct{}), gone: make(chan struct{})}
	p.pod = &pod{host: k.network.address(box.space)}
	k.mu.Lock()
	k.pods[ordinal] = p
	k.mu.Unlock()
	k.resolve()
	go p.live()
	return p
}

// remove deletes a pod and waits until it has ended.
func (k *kubelet) remove(ordinal int) {
	k.t.Helper()
	p := k.get(ordinal)
	p.delete()
	<-p.gone
	k.mu.Lock()
	delete(k.pods, ordinal)
	k.mu.Unlock()
	k.resolve()
}

// resolve tells every pod the addresses of all, ready or not.
func (k *kubelet) resolve() {
	service := k.m.peers.Name
	domain := service + ".default.svc.cluster.local"
	text := "127.0.0.1 localhost\n"
	for _, p := range k.all() {
		text += fmt.Sprintf("%s %s.%s\n%s %s %s\n", p.pod.host, p.name(), domain, p.pod.host, service, domain)
	}
	for _, box := range k.box {
		box.hosts(k.t, text)
	}
}

// address is where a name of the map or of the client service leads.
func (k *kubelet) address(host string) (string, error) {
	for _, p := range k.all() {
		if strings.HasPrefix(host, p.name()+".") || host == k.m.client.Name && p.isReady() {
			return p.pod.host, nil
		}
	}
	return "", fmt.Errorf("no pod is called %s", host)
}

// scale makes and deletes pods, all at once, as podManagementPolicy says.
func (k *kubelet) scale(from, to int) {
	k.t.Helper()
	if k.m.set.Spec.PodManagementPolicy != "Parallel" {
		k.t.Fatal("pods start one after another, and here all at once")
	}
	for i := from; i < to; i++ {
		k.create(i)
	}
	for i := to; i < from; i++ {
		k.get(i).delete()
	}
	for i := to; i < from; i++ {
		k.remove(i)
	}
}

// roll replaces the pods from the last to the first, each when the one before is ready.
func (k *kubelet) roll(count int) {
	k.t.Helper()
	for i := count - 1; i >= 0; i-- {
		began := time.Now()
		k.remove(i)
		stopped := time.Since(began)
		k.create(i)
		k.awaitReady(i)
		k.t.Logf("pod %d stopped in %s and was ready %s later", i, stopped.Round(time.Millisecond), (time.Since(began) - stopped).Round(time.Millisecond))
	}
}

// awaitReady waits for pods.
func (k *kubelet) awaitReady(ordinals ...int) {
	k.t.Helper()
	for _, i := range ordinals {
		k.eventually(time.Minute*3, fmt.Sprintf("pod %d to be ready", i), func() error {
			if p := k.get(i); !p.isReady() {
				p.mu.Lock()
				defer p.mu.Unlock()
				return fmt.Errorf("%d restarts, %s", p.restarts, p.why)
			}
			return nil
		})
	}
}

func (k *kubelet) eventually(limit time.Duration, what string, f func() error) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			k.t.Fatalf("waited %s for %s: %v", limit, what, err)
		case <-tick.C:
		}
	}
}

// cli is kubectl exec in the first pod: lightning-cli asks the node there.
func (k *kubelet) cli(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
	defer cancel()
	host := fmt.Sprintf("%s-0.%s.default.svc.cluster.local:8379", k.m.set.Name, k.m.peers.Name)
	shared := []string{
		"--addr", host, "--tls-ca", filepath.Join(mountPath(k.t, k.m, "tls"), "ca.crt"),
		"--password-file", filepath.Join(mountPath(k.t, k.m, "auth"), "password"), "--timeout", "20s", "-o", "json",
	}
	return k.box[0].exec(ctx, "/lightning-cli", append(shared, args...)...)
}

func (p *livePod) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

func (p *livePod) setReady(ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = ready
}

func (p *livePod) state() (restarts, probes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts, p.probes
}

func (p *livePod) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process != nil {
		_ = p.process.cmd.Process.Signal(s)
	}
}

func (p *livePod) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return ""
	}
	text := p.process.log.String()
	return text[max(0, len(text)-4000):]
}

func (p *livePod) delete() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = false // its endpoint goes at once
	select {
	case <-p.deleted:
	default:
		close(p.deleted)
	}
}

// live runs the container, and again whenever it ends, until the pod is deleted.
func (p *livePod) live() {
	defer close(p.gone)
	for {
		process, err := p.box.start("/lightning-node", p.k.m.container().Args...)
		if err != nil {
			p.k.t.Errorf("%s: %v", p.name(), err)
			return
		}
		p.mu.Lock()
		p.process = process
		p.mu.Unlock()
		if p.supervise(process) {
			return
		}
		p.setReady(false)
		p.mu.Lock()
		p.restarts++
		p.why = fmt.Sprintf("ended with %v", process.err)
		p.mu.Unlock()
		if p.wait(nil, restartPause) {
			return
		}
	}
}

// wait returns true when the pod is deleted, and false after d or when ended is closed.
func (p *livePod) wait(ended <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.deleted:
		return true
	case <-ended:
	case <-timer.C:
	}
	return false
}

// supervise asks the probes until the process ends, or the pod is deleted and stopped: then it returns true.
func (p *livePod) supervise(process *process) bool {
	c := p.k.m.container()
	startup, ready, live := newProber(c.StartupProbe), newProber(c.ReadinessProbe), newProber(c.LivenessProbe)
	started := false
	for {
		next := startup
		if started {
			if next = ready; live.at.Before(ready.at) {
				next = live
			}
		}
		if p.wait(process.done, time.Until(next.at)) {
			p.stop(process)
			return true
		}
		select {
		case <-process.done:
			return false
		default:
		}
		verdict := next.ask(p)
		switch {
		case next == ready && verdict != 0:
			p.setReady(verdict > 0 && !p.isDeleted())
		case next == live && verdict > 0:
			p.mu.Lock()
			p.probes++
			p.mu.Unlock()
		case next == startup && verdict > 0:
			started = true
			ready.at, live.at = time.Now(), time.Now()
		case verdict < 0:
			p.k.t.Errorf("%s is to be restarted: the %s probe failed: %s", p.name(), next.probe.HTTPGet.Path, p.why)
			p.terminate(process)
			return false
		}
	}
}

func (p *livePod) isDeleted() bool {
	select {
	case <-p.deleted:
		return true
	default:
		return false
	}
}

// stop is what a kubelet does to a pod that is deleted: the hook, SIGTERM, and SIGKILL if the grace is over.
func (p *livePod) stop(process *process) {
	if hook := p.k.m.container().Lifecycle.PreStop; hook != nil {
		timer := time.NewTimer(time.Duration(hook.Sleep.Seconds) * time.Second / compressed)
		select {
		case <-timer.C:
		case <-process.done:
			timer.Stop()
			return
		}
	}
	p.terminate(process)
}

func (p *livePod) terminate(process *process) {
	_ = process.cmd.Process.Signal(syscall.SIGTERM)
	grace := time.NewTimer(time.Duration(*p.k.m.pod().TerminationGracePeriodSeconds) * time.Second)
	defer grace.Stop()
	select {
	case <-process.done:
		if process.err != nil && !strings.Contains(process.err.Error(), "killed") {
			p.k.t.Errorf("%s stopped with %v:\n%s", p.name(), process.err, process.log.String())
		}
	case <-grace.C:
		p.k.t.Errorf("%s did not stop within its grace period", p.name())
		_ = process.cmd.Process.Kill()
		<-process.done
	}
}

// prober asks a probe again and again, and counts as a kubelet does.
type prober struct {
	probe        *corev1.Probe
	at           time.Time // of the next question
	good, failed int       // in a row
}

func newProber(p *corev1.Probe) *prober {
	return &prober{probe: p, at: time.Now().Add(time.Duration(p.InitialDelaySeconds) * time.Second / compressed)}
}

// ask returns 1 when enough answers in a row were good, -1 when enough were not, and 0 in between.
func (q *prober) ask(p *livePod) int {
	period := q.probe.PeriodSeconds
	if period == 0 {
		period = 10
	}
	q.at = time.Now().Add(time.Duration(period) * time.Second / compressed)
	// A machine that runs other tests may be slow to answer a probe of one second.
	limit := max(time.Duration(orOne(q.probe.TimeoutSeconds))*time.Second, 10*time.Second)
	ctx, cancel := context.WithTimeout(p.k.t.Context(), limit)
	defer cancel()
	if err := p.pod.probe(ctx, p.k.m, q.probe); err != nil {
		p.mu.Lock()
		p.why = err.Error()
		p.mu.Unlock()
		if q.good, q.failed = 0, q.failed+1; q.failed >= threshold(q.probe) {
			return -1
		}
		return 0
	}
	if q.good, q.failed = q.good+1, 0; q.good >= int(orOne(q.probe.SuccessThreshold)) {
		return 1
	}
	return 0
}
