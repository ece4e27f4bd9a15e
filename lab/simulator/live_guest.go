package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

const (
	eventSeconds = 20 * time.Second
	loadSeconds  = 60 * time.Second
)

// liveGuest is a real VM: one QEMU process, or two while it moves. It keeps its address, its network and its serial line.
type liveGuest struct {
	guest  Guest
	beats  beats
	places *sockets

	mu      sync.Mutex
	network guestNetwork
	current *machine // where the VM runs; nil before its first start
	target  *machine // of the migration in progress
	number  int
	frozen  time.Time // stopped by the control API
	freezes []*Freeze
	hold    time.Duration // how long the next switch-over lasts at least
}

// start boots the VM, or starts it from its kept state.
func (g *liveGuest) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.connect(); err != nil {
		return err
	}
	g.beats.reset()
	kept := g.guest.Live.State
	current, err := g.launch(kept != "")
	if err != nil {
		return err
	}
	if kept != "" {
		if err := current.load(kept); err != nil {
			current.kill()
			return fmt.Errorf("the kept state %s cannot be loaded: %w; remove it and try again", kept, err)
		}
	}
	g.current, g.frozen = current, time.Time{}
	g.network.lose(false)
	return nil
}

// connect makes the VM's network and serial line, which outlive its QEMU processes.
func (g *liveGuest) connect() error {
	if g.network != nil {
		return nil
	}
	var err error
	if g.places, err = openSockets(g.guest.Live.Folder); err != nil {
		return err
	}
	line, err := g.places.listen(beatSocket)
	if err != nil {
		return err
	}
	go g.beats.listen(line)
	g.network, err = g.plugIn()
	return err
}

// plugIn makes the VM's network.
func (g *liveGuest) plugIn() (guestNetwork, error) {
	if taps := g.guest.Live.Taps; len(taps) > 0 {
		return &bridge{taps}, nil
	}
	plugs, err := g.places.listen(plugSocket)
	if err != nil {
		return nil, err
	}
	return newSwitch(plugs, g.guest.Address, g.guest.Live)
}

// launch starts the VM's next QEMU process. The caller holds the lock.
func (g *liveGuest) launch(incoming bool) (*machine, error) {
	g.number++
	inUse := ""
	if g.current != nil && !g.current.isGone() {
		inUse = g.current.netdev
	}
	return launch(fmt.Sprintf("qemu-%d", g.number), &g.guest, g.places, g.network.netdev(inUse), incoming)
}

// load continues a VM whose state is in a file.
func (m *machine) load(path string) error {
	if err := m.monitor.execute("migrate-incoming", map[string]any{"uri": "file:" + path}, nil); err != nil {
		return err
	}
	var state struct{ Status string }
	for end := time.Now().Add(loadSeconds); state.Status != "paused" && state.Status != "running"; {
		if time.Now().After(end) {
			return fmt.Errorf("it is still %s after %s", state.Status, loadSeconds)
		}
		time.Sleep(10 * time.Millisecond)
		if err := m.monitor.execute("query-status", nil, &state); err != nil {
			return err
		}
	}
	return m.monitor.execute("cont", nil, nil)
}

// freeze stops the VM as a hypervisor does; it reports false if the VM is frozen, dead or moving.
func (g *liveGuest) freeze() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current == nil || g.current.isGone() || g.target != nil || !g.frozen.IsZero() {
		return false
	}
	g.current.monitor.drain()
	if g.current.monitor.execute("stop", nil, nil) != nil {
		return false
	}
	stop, err := g.current.monitor.await("STOP", eventSeconds)
	if err != nil {
		return false
	}
	g.network.lose(true)
	g.frozen = stop.at
	return true
}

// thaw continues the VM, and returns how many seconds it stood still.
func (g *liveGuest) thaw(cause string) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen.IsZero() {
		return 0
	}
	stopped := g.frozen
	g.frozen = time.Time{}
	if g.current.monitor.execute("cont", nil, nil) != nil {
		return 0
	}
	resume, err := g.current.monitor.await("RESUME", eventSeconds)
	if err != nil {
		return 0
	}
	g.network.lose(false)
	return g.record(&Freeze{Started: stopped, Seconds: resume.at.Sub(stopped).Seconds(), Cause: cause})
}

// record keeps a freeze, and adds how long the training stood still as soon as that is known. The caller holds the lock.
func (g *liveGuest) record(freeze *Freeze) float64 {
	g.freezes = append(g.freezes, freeze)
	resumed := freeze.Started.Add(time.Duration(freeze.Seconds * float64(time.Second)))
	go func() {
		if seconds, known := g.beats.await(freeze.Started, resumed); known {
			g.mu.Lock()
			defer g.mu.Unlock()
			freeze.Standstill = &seconds
		}
	}()
	return freeze.Seconds
}

// kill ends the VM, on both hosts if it moves.
func (g *liveGuest) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, machine := range []*machine{g.target, g.current} {
		if machine != nil {
			machine.kill()
		}
	}
	g.frozen = time.Time{}
	if g.network != nil {
		g.network.lose(true)
	}
}

// killTarget ends the QEMU process that a migration copies to; it reports false if there is none.
func (g *liveGuest) killTarget() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.target == nil {
		return false
	}
	g.target.kill()
	return true
}

// holdNext makes the next switch-over last at least that long.
func (g *liveGuest) holdNext(hold time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = hold
}

// runs reports whether the VM runs or is frozen.
func (g *liveGuest) runs() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current != nil && !g.current.isGone()
}

func (g *liveGuest) state() map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	name, pid := "none", 0
	if g.current != nil {
		pid = g.current.command.Process.Pid
		switch {
		case g.current.isGone():
			name = "dead"
		case !g.frozen.IsZero():
			name = "frozen"
		default:
			name = "running"
		}
	}
	found := map[string]any{"state": name, "pid": pid, "hypervisor": g.guest.Live.Hypervisor}
	if g.network != nil {
		g.network.describe(found)
	}
	if steps, ago, any := g.beats.latest(); any {
		found["steps"], found["beat_seconds_ago"] = steps, ago.Seconds()
	}
	return found
}

func (g *liveGuest) recorded() []Freeze {
	g.mu.Lock()
	defer g.mu.Unlock()
	copies := []Freeze{}
	for _, freeze := range g.freezes {
		copies = append(copies, *freeze)
	}
	return copies
}

func (g *liveGuest) isFrozen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.frozen.IsZero()
}

// hasTools reports false: no VMware Tools run in this VM, so nobody can list its processes.
func (g *liveGuest) hasTools() bool { return false }

func (g *liveGuest) processes() []types.GuestProcessInfo { return nil }
