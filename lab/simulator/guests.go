package main

import (
	"maps"
	"slices"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

// guest is what really runs in a VM: a process of this machine (guestProcess) or a QEMU VM (liveGuest).
type guest interface {
	start() error
	kill()
	freeze() bool // false if it cannot be frozen now
	thaw(cause string) float64
	isFrozen() bool
	recorded() []Freeze
	state() map[string]any
	hasTools() bool
	processes() []types.GuestProcessInfo
}

// guests are what really runs in the VMs of a vCenter. They come and go with VMs that move between vCenters.
type guests struct {
	mu      sync.Mutex
	running map[string]guest // by VM MoID
}

func newGuests(inventory *inventory) *guests {
	g := &guests{running: map[string]guest{}}
	for vm, spec := range inventory.specs {
		switch {
		case spec.Guest.Live != nil:
			g.running[vm] = &liveGuest{guest: spec.Guest}
		case len(spec.Guest.Command) > 0:
			g.running[vm] = &guestProcess{guest: spec.Guest}
		}
	}
	return g
}

// of is what runs in a VM; nil when there is nothing.
func (g *guests) of(vm types.ManagedObjectReference) guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running[vm.Value]
}

// handOver gives what runs in a VM to another vCenter, where the VM has another MoID.
func (g *guests) handOver(vm types.ManagedObjectReference, there *guests, arrived types.ManagedObjectReference) {
	g.mu.Lock()
	guest := g.running[vm.Value]
	delete(g.running, vm.Value)
	g.mu.Unlock()
	if guest != nil {
		there.mu.Lock()
		defer there.mu.Unlock()
		there.running[arrived.Value] = guest
	}
}

func (g *guests) all() []guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.running))
}

// live is the QEMU VM behind a VM; nil when it is simulated.
func (g *guests) live(vm types.ManagedObjectReference) *liveGuest {
	live, _ := g.of(vm).(*liveGuest)
	return live
}

func (g *guests) start() error {
	for _, guest := range g.all() {
		if err := guest.start(); err != nil {
			return err
		}
	}
	return nil
}

func (g *guests) kill() {
	for _, guest := range g.all() {
		guest.kill()
	}
}
