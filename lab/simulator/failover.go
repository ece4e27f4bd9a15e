package main

import (
	"cmp"
	"log"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Simulated seconds. HA declares a host failed if 15 s pass without its heartbeats (vSphere Web Services SDK Programming Guide, "Failure
// Detection and Host Network Isolation"). How long the start of a VM takes is the lab's own.
const (
	declaredAfter = 15.0
	startSeconds  = 2.0
)

// Restart is a VM that HA has started again after a failure of its host.
type Restart struct {
	VM     string    `json:"vm"`
	Source string    `json:"source"`
	Target string    `json:"target"`
	At     time.Time `json:"at"`
}

// failover is what follows when a host fails: its VMs are gone, and HA starts them again on other hosts, or on the host when it is back.
type failover struct {
	inventory *inventory
	events    events
	clock     clock
	moves     *moves
	guests    *guests

	mu       sync.Mutex
	failed   map[string]bool // hosts that are down, by MoID
	waiting  map[string]int  // failures of hosts whose VMs HA may still start, by MoID
	restarts []Restart
}

func newFailover(v *vcenter) *failover {
	return &failover{
		inventory: v.inventory, events: v.events, clock: v.clock, moves: v.moves, guests: v.guests,
		failed: map[string]bool{}, waiting: map[string]int{},
	}
}

// recorded is a copy of all restarts.
func (f *failover) recorded() []Restart {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Restart{}, f.restarts...)
}

// fail takes the power from a host. It reports false if the host does not run, or has a VM that is real.
func (f *failover) fail(host *simulator.HostSystem) bool {
	f.moves.vcenter.peers.switching.Lock() // a VM is either on the host or not
	defer f.moves.vcenter.peers.switching.Unlock()
	vms := f.on(host)
	if host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected || slices.ContainsFunc(vms, f.isReal) || !f.note(host, true) {
		return false
	}
	f.connect(host, types.HostSystemConnectionStateNotResponding, types.HostSystemPowerStateUnknown)
	ctx := f.inventory.as("")
	f.events.post(ctx, 0, &types.HostConnectionLostEvent{HostEvent: f.events.ofHost(host)})
	lost := map[types.ManagedObjectReference]bool{}
	for _, vm := range vms {
		lost[vm.Self] = f.inventory.view(vm).power == types.VirtualMachinePowerStatePoweredOn
		if guest := f.guests.of(vm.Self); guest != nil {
			guest.kill()
		}
		f.show(vm, types.VirtualMachineConnectionStateDisconnected, "")
		f.events.post(ctx, 0, &types.VmDisconnectedEvent{VmEvent: f.events.ofVM(vm, host)})
	}
	f.wait(host, 1)
	go func() {
		defer f.wait(host, -1)
		f.attempt(func() { f.restartAll(host, lost) })
	}()
	return true
}

// wait counts a failure that begins (+1) or after which HA has nothing more to do (-1).
func (f *failover) wait(host *simulator.HostSystem, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting[host.Self.Value] += by
}

// isGoingOn reports whether a host is down, or HA may still start VMs of it.
func (f *failover) isGoingOn(host *simulator.HostSystem) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed[host.Self.Value] || f.waiting[host.Self.Value] > 0
}

// boot gives a host its power back. HA starts the VMs that are still there; without HA they stay powered off.
func (f *failover) boot(host *simulator.HostSystem) {
	if !f.note(host, false) {
		return
	}
	f.connect(host, types.HostSystemConnectionStateConnected, types.HostSystemPowerStatePoweredOn)
	for _, vm := range f.on(host) {
		f.show(vm, types.VirtualMachineConnectionStateConnected, types.VirtualMachinePowerStatePoweredOff)
	}
	f.inventory.refreshLoad()
	f.events.post(f.inventory.as(""), 0, &types.HostConnectedEvent{HostEvent: f.events.ofHost(host)})
}

// restartAll declares a host failed, and starts its VMs again, those that were powered on.
func (f *failover) restartAll(host *simulator.HostSystem, lost map[types.ManagedObjectReference]bool) {
	cluster := f.inventory.clusterOf(host)
	time.Sleep(f.clock.scaled(declaredAfter))
	if cluster == nil || !f.isOn(cluster) {
		return
	}
	ctx := f.inventory.as("")
	f.events.post(ctx, 0, ha("com.vmware.vc.HA.DasHostFailedEvent", "error", "vSphere HA detected a host failure", host, f.events.ofHost(host).Event))
	reported := map[types.ManagedObjectReference]bool{}
	for wait := 0.0; ; wait = declaredAfter {
		time.Sleep(f.clock.scaled(wait))
		var left []*simulator.VirtualMachine
		for _, vm := range f.on(host) {
			if lost[vm.Self] && !f.isDisabled(cluster, vm) {
				left = append(left, vm)
			}
		}
		if len(left) == 0 || !f.isOn(cluster) {
			return
		}
		for _, vm := range left {
			target := f.target(cluster, vm, host)
			if target != nil {
				f.restart(vm, host, target)
				delete(lost, vm.Self)
			} else if !reported[vm.Self] {
				reported[vm.Self] = true
				f.events.post(ctx, 0, &types.VmFailoverFailed{VmEvent: f.events.ofVM(vm, host)})
			}
		}
	}
}

// restart starts a VM on a host. For a moment it is there and powered off.
func (f *failover) restart(vm *simulator.VirtualMachine, source, target *simulator.HostSystem) {
	ctx := f.inventory.as("")
	f.show(vm, types.VirtualMachineConnectionStateConnected, types.VirtualMachinePowerStatePoweredOff)
	if target != source {
		f.inventory.place(ctx, vm, source, &destination{host: target})
	}
	time.Sleep(f.clock.scaled(startSeconds))
	f.show(vm, "", types.VirtualMachinePowerStatePoweredOn)
	f.inventory.refreshLoad()
	if guest := f.guests.of(vm.Self); guest != nil {
		if err := guest.start(); err != nil {
			log.Printf("HA cannot start what runs in %s: %v", vm.Name, err)
		}
	}
	event := f.events.ofVM(vm, target)
	f.events.post(ctx, 0, &types.VmPoweredOnEvent{VmEvent: event})
	text := "vSphere HA restarted virtual machine " + vm.Name + " on host " + target.Name
	f.events.post(ctx, 0, ha("com.vmware.vc.ha.VmRestartedByHAEvent", "warning", text, vm, event.Event))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.restarts = append(f.restarts, Restart{f.inventory.view(vm).name, source.Name, target.Name, time.Now()})
}

// ha is an event of HA. It has a type by name, since vSphere 5.0.
func ha(kind, severity, text string, of mo.Entity, about types.Event) *types.EventEx {
	about.FullFormattedMessage = text
	return &types.EventEx{
		Event: about, EventTypeId: kind, Severity: severity, Message: text,
		ObjectType: of.Reference().Type, ObjectId: of.Reference().Value, ObjectName: of.Entity().Name,
	}
}

// target is the host in service with the lowest load on which a VM can start, a failover host first; nil if there is none.
func (f *failover) target(cluster *simulator.ClusterComputeResource, vm *simulator.VirtualMachine, source *simulator.HostSystem) *simulator.HostSystem {
	var best *simulator.HostSystem
	for _, host := range f.inventory.hostsOf(cluster) {
		if f.canStart(vm, source, host) && (best == nil || f.isBetter(host, best)) {
			best = host
		}
	}
	return best
}

// canStart reports whether a VM can start on a host. It breaks no mandatory rule for hosts (vSphere Availability).
func (f *failover) canStart(vm *simulator.VirtualMachine, source, host *simulator.HostSystem) bool {
	layout := f.moves.storage.layout(vm)
	plan := relocation{vm: vm, source: source, to: &destination{host: host}, from: layout, wanted: layout}
	state := slices.DeleteFunc(f.moves.stateObstacles(host), func(fault types.BaseMethodFault) bool {
		_, isFree := fault.(*types.DisallowedOperationOnFailoverHost)
		return isFree
	})
	return len(state) == 0 && len(f.moves.connectivityObstacles(plan)) == 0 && len(f.moves.capacityObstacles(plan)) == 0 &&
		f.moves.missingFeatures(vm, host) == nil && f.moves.missingProfile(vm, host) == nil
}

func (f *failover) isBetter(one, other *simulator.HostSystem) bool {
	if kept := f.inventory.isFailoverHost(one); kept != f.inventory.isFailoverHost(other) {
		return kept
	}
	used := func(host *simulator.HostSystem) float64 {
		return float64(host.Summary.QuickStats.OverallMemoryUsage) / float64(max(1, host.Hardware.MemorySize>>20))
	}
	return cmp.Compare(used(one), used(other)) < 0
}

// isOn reports whether HA is on in a cluster.
func (f *failover) isOn(cluster *simulator.ClusterComputeResource) bool {
	return isTrue(f.inventory.clusterConfiguration(cluster).DasConfig.Enabled)
}

// isDisabled reports whether HA must not restart a VM.
func (f *failover) isDisabled(cluster *simulator.ClusterComputeResource, vm *simulator.VirtualMachine) bool {
	return slices.ContainsFunc(f.inventory.clusterConfiguration(cluster).DasVmConfig, func(each types.ClusterDasVmConfigInfo) bool {
		return each.Key == vm.Self && each.DasSettings != nil && each.DasSettings.RestartPriority == "disabled"
	})
}

func (f *failover) isReal(vm *simulator.VirtualMachine) bool { return f.guests.live(vm.Self) != nil }

// on are the VMs of a host.
func (f *failover) on(host *simulator.HostSystem) []*simulator.VirtualMachine {
	return slices.DeleteFunc(f.inventory.vms(), func(vm *simulator.VirtualMachine) bool { return f.inventory.view(vm).host != host.Self })
}

// note remembers whether a host is down, and reports whether that is new.
func (f *failover) note(host *simulator.HostSystem, down bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.failed[host.Self.Value]
	f.failed[host.Self.Value] = down
	return before != down
}

// connect shows whether vCenter reaches a host, and its power.
func (f *failover) connect(host *simulator.HostSystem, state types.HostSystemConnectionState, power types.HostSystemPowerState) {
	ctx := f.inventory.as("")
	ctx.WithLock(host, func() {
		ctx.Update(host, []types.PropertyChange{
			{Name: "runtime.connectionState", Val: state}, {Name: "summary.runtime.connectionState", Val: state},
			{Name: "runtime.powerState", Val: power}, {Name: "summary.runtime.powerState", Val: power},
		})
	})
}

// show changes what vCenter shows of a VM: its connection and its power, "" for no change.
func (f *failover) show(vm *simulator.VirtualMachine, state types.VirtualMachineConnectionState, power types.VirtualMachinePowerState) {
	var changes []types.PropertyChange
	if state != "" {
		changes = append(changes,
			types.PropertyChange{Name: "runtime.connectionState", Val: state},
			types.PropertyChange{Name: "summary.runtime.connectionState", Val: state})
	}
	if power != "" {
		changes = append(changes,
			types.PropertyChange{Name: "runtime.powerState", Val: power},
			types.PropertyChange{Name: "summary.runtime.powerState", Val: power})
	}
	if power == types.VirtualMachinePowerStatePoweredOn {
		changes = append(changes, types.PropertyChange{Name: "runtime.bootTime", Val: types.NewTime(time.Now())})
	}
	ctx := f.inventory.as("")
	ctx.WithLock(vm, func() { ctx.Update(vm, changes) })
}

// attempt survives a panic: it ends this failover and not the lab.
func (f *failover) attempt(work func()) {
	defer func() {
		if cause := recover(); cause != nil {
			log.Printf("panic in HA: %v\n%s", cause, debug.Stack())
		}
	}()
	work()
}
