package main

import (
	"errors"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	setupSeconds = 3.0
	stunBase     = 0.15
	stunPerGB    = 0.004
	tick         = 50 * time.Millisecond
)

// MoveRecord is what truly happened in one relocation. Tests compare measurements with it.
type MoveRecord struct {
	VM       string     `json:"vm"`
	Source   string     `json:"source"`
	Target   string     `json:"target"`
	By       string     `json:"by"` // who started it: a user, or DRS
	Queued   *time.Time `json:"queued"`
	Started  *time.Time `json:"started"`
	Switched *time.Time `json:"switched"`
	Finished *time.Time `json:"finished"`
	Result   string     `json:"result"`
	Error    *string    `json:"error"`
	Freeze   *float64   `json:"freeze_seconds"`
}

// moves carries out relocations as a vMotion does, and records each of them.
type moves struct {
	inventory   *inventory
	events      events
	tasks       *tasks
	clock       clock
	links       *links
	slots       *slotQueue
	guests      *guests
	faults      *faultQueue
	maintenance *maintenance
	cluster     *clusterConfig

	mu      sync.Mutex
	busy    map[string]flight // by VM MoID
	records []*MoveRecord
}

func newMoves(v *vcenter) *moves {
	return &moves{
		inventory: v.inventory, events: v.events, tasks: v.tasks, clock: v.clock, links: v.links, slots: v.slots,
		guests: v.guests, faults: v.faults, maintenance: v.maintenance, cluster: v.cluster,
		busy: map[string]flight{},
	}
}

// starter is who starts a relocation: a user, DRS by itself (without a user), or DRS for the user who applies a recommendation.
type starter struct {
	user string
	drs  bool
}

func (s starter) name() string {
	if s.user == "" {
		return "DRS"
	}
	return s.user
}

// flight is a relocation that has not ended: its task, and the MoID of its target.
type flight struct {
	task   types.ManagedObjectReference
	target string
}

// move is one relocation in progress.
type move struct {
	by starter

	*operation
	vm             *simulator.VirtualMachine
	source, target *simulator.HostSystem
	to             *destination
	cost           int
	record         *MoveRecord
}

// RelocateVMTask replaces the simulator's instant relocation by one that behaves like a vMotion.
func (o *overrides) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	body := &methods.RelocateVM_TaskBody{}
	ref, fault := o.vcenter.moves.start(starter{user: ctx.Session.UserName}, req.This, req.Spec, vmotionCost)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.RelocateVM_TaskResponse{Returnval: ref}
	return body
}

// MigrateVMTask is the older call for the same purpose.
func (o *overrides) MigrateVMTask(ctx *simulator.Context, req *types.MigrateVM_Task) soap.HasFault {
	body := &methods.MigrateVM_TaskBody{}
	spec := types.VirtualMachineRelocateSpec{Host: req.Host, Pool: req.Pool}
	ref, fault := o.vcenter.moves.start(starter{user: ctx.Session.UserName}, req.This, spec, vmotionCost)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.MigrateVM_TaskResponse{Returnval: ref}
	return body
}

// start begins a relocation and returns its task.
func (m *moves) start(
	by starter, vmRef types.ManagedObjectReference, spec types.VirtualMachineRelocateSpec, cost int,
) (types.ManagedObjectReference, types.BaseMethodFault) {
	vm := m.inventory.vm(vmRef)
	if vm == nil {
		return vmRef, &types.ManagedObjectNotFound{Obj: vmRef}
	}
	to, fault := m.destination(vm, spec)
	if fault != nil {
		return vmRef, fault
	}
	if reaches(vm.DisabledMethod, "RelocateVM_Task") || reaches(vm.DisabledMethod, "MigrateVM_Task") {
		return vmRef, &types.MethodDisabled{}
	}
	if task, busy := m.claim(vmRef.Value, to.host.Self.Value); busy {
		return vmRef, &types.TaskInProgress{Task: task}
	}
	now := time.Now()
	work := &move{vm: vm, by: by, source: m.inventory.host(*vm.Runtime.Host), target: to.host, to: to, cost: cost}
	work.operation = m.begin(by, vm)
	work.record = &MoveRecord{
		VM: m.inventory.view(vm).name, Source: work.source.Name, Target: work.target.Name, By: by.name(), Queued: &now,
		Result: "queued",
	}
	m.mu.Lock()
	m.busy[vmRef.Value] = flight{work.task.Self, to.host.Self.Value}
	m.records = append(m.records, work.record)
	m.mu.Unlock()
	go work.run(func() types.BaseMethodFault { return m.migrate(work) })
	return work.task.Self, nil
}

// begin makes the task, which shows whether DRS moves the VM.
func (m *moves) begin(by starter, vm *simulator.VirtualMachine) *operation {
	if by.drs {
		return m.tasks.beginInternal(by.user, vm, "Drm.ExecuteVMotionLRO")
	}
	return m.tasks.begin(by.user, vm, "RelocateVM_Task", "relocate")
}

// claim reserves the VM for the caller's move; if another move has it, claim returns the task of that move.
func (m *moves) claim(vm, target string) (types.ManagedObjectReference, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	other, busy := m.busy[vm]
	if !busy {
		m.busy[vm] = flight{target: target}
	}
	return other.task, busy
}

// moving are the targets of the VMs that move now, by MoID.
func (m *moves) moving() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	targets := map[string]string{}
	for vm, flight := range m.busy {
		targets[vm] = flight.target
	}
	return targets
}

// note changes a record under the lock.
func (m *moves) note(record *MoveRecord, change func(*MoveRecord)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(record)
}

// recorded is a copy of all records.
func (m *moves) recorded() []MoveRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	copies := make([]MoveRecord, 0, len(m.records))
	for _, record := range m.records {
		copies = append(copies, *record)
	}
	return copies
}

// migrate carries out the move and completes its record.
func (m *moves) migrate(work *move) types.BaseMethodFault {
	fault := types.BaseMethodFault(&types.SystemError{})
	defer func() { m.conclude(work, fault) }()
	fault = m.vmotion(work)
	return fault
}

func (m *moves) conclude(work *move, fault types.BaseMethodFault) {
	now := time.Now()
	failed := false
	m.mu.Lock()
	work.record.Finished, work.record.Result = &now, "success"
	if fault != nil {
		name := faultName(fault)
		failed = name != "RequestCanceled"
		work.record.Result, work.record.Error = "cancelled", &name
		if failed {
			work.record.Result = "error"
		}
	}
	delete(m.busy, work.vm.Self.Value)
	m.mu.Unlock()
	if failed {
		m.events.post(work.ctx, work.chain(), &types.VmFailedMigrateEvent{
			VmEvent: m.events.ofVM(work.vm, work.source), DestHost: *hostArgument(work.target),
			Reason: types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultName(fault)},
		})
	}
}

func (m *moves) vmotion(work *move) types.BaseMethodFault {
	if !m.slots.acquire(work.source.Name, work.target.Name, work.cost, work.cancel) {
		return &types.RequestCanceled{}
	}
	defer m.slots.release(work.source.Name, work.target.Name, work.cost)
	now := time.Now()
	m.note(work.record, func(record *MoveRecord) { record.Started, record.Result = &now, "running" })
	work.running()
	if fault := m.faults.take(work.vm.Self.Value, work.task.Self); fault != nil {
		return fault
	}
	if fault := m.obstacle(work.vm, work.source, work.to); fault != nil {
		return fault
	}
	m.events.post(work.ctx, work.chain(), &types.VmBeingHotMigratedEvent{
		VmEvent: m.events.ofVM(work.vm, work.source), DestHost: *hostArgument(work.target),
	})
	carry := m.imitate
	if guest := m.guests.live(work.vm.Self); guest != nil && guest.runs() {
		carry = func(work *move) types.BaseMethodFault { return m.migrateLive(work, guest) }
	}
	if fault := carry(work); fault != nil {
		return fault
	}
	migrated := types.VmMigratedEvent{VmEvent: m.events.ofVM(work.vm, work.target), SourceHost: *hostArgument(work.source)}
	if work.by.drs {
		m.events.post(work.ctx, work.chain(), &types.DrsVmMigratedEvent{VmMigratedEvent: migrated})
	} else {
		m.events.post(work.ctx, work.chain(), &migrated)
	}
	return nil
}

// imitate is a vMotion of a VM that does not really run: the copy takes as long as it would, and the guest is frozen.
func (m *moves) imitate(work *move) types.BaseMethodFault {
	if !m.copyMemory(work) {
		return &types.RequestCanceled{}
	}
	if fault := m.obstacle(work.vm, work.source, work.to); fault != nil {
		return fault
	}
	if !work.pointOfNoReturn() {
		return &types.RequestCanceled{}
	}
	m.switchOver(work)
	return nil
}

// migrateLive moves a real VM by a live migration of its hypervisor.
func (m *moves) migrateLive(work *move, guest *liveGuest) types.BaseMethodFault {
	source, target := work.source.Name, work.target.Name
	m.links.occupy(1, source, target)
	defer m.links.occupy(-1, source, target)
	var obstacle types.BaseMethodFault
	freeze, err := guest.migrate(transfer{
		progress: work.progress, cancel: work.cancel, pointOfNoReturn: work.pointOfNoReturn,
		bandwidth: func() float64 { return m.links.bandwidth(source, target) },
		possible: func() bool {
			obstacle = m.obstacle(work.vm, work.source, work.to)
			return obstacle == nil
		},
	})
	if freeze != nil {
		m.note(work.record, func(record *MoveRecord) { record.Freeze = &freeze.Seconds })
	}
	switch {
	case errors.Is(err, errCancelled):
		return &types.RequestCanceled{}
	case errors.Is(err, errObstacle):
		return obstacle
	case err != nil:
		return &types.GenericVmConfigFault{Reason: err.Error()}
	}
	m.place(work.ctx, work.vm, work.source, work.to)
	now := time.Now()
	m.note(work.record, func(record *MoveRecord) { record.Switched = &now })
	return nil
}

// copyMemory is the pre-copy: consumed memory over this move's share of both links. It reports false when cancelled.
func (m *moves) copyMemory(work *move) bool {
	if work.vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return true
	}
	source, target := work.source.Name, work.target.Name
	m.links.occupy(1, source, target)
	defer m.links.occupy(-1, source, target)
	total := m.inventory.vmSpec(work.vm).memoryUsed() * gib * 8
	setup := m.clock.scaled(setupSeconds)
	left, shown, last := total, -1, time.Now()
	ticker := time.NewTicker(min(tick, max(time.Millisecond, m.clock.scaled(0.5))))
	defer ticker.Stop()
	for left > 0 || setup > 0 {
		select {
		case <-work.cancel:
			return false
		case now := <-ticker.C:
			passed := now.Sub(last)
			last = now
			if setup > 0 {
				setup -= passed
				continue
			}
			left -= m.links.bandwidth(source, target) * m.clock.simulated(passed)
			if percent := max(0, min(95, int(100*(1-left/total)))); percent >= shown+2 {
				shown = percent
				work.progress(percent)
			}
		}
	}
	return true
}

// place changes where a VM lives. A VM that leaves its cluster loses its overrides there.
func (m *moves) place(ctx *simulator.Context, vm *simulator.VirtualMachine, source *simulator.HostSystem, to *destination) {
	m.inventory.place(ctx, vm, source, to)
	if *source.Parent != *to.host.Parent {
		m.cluster.discard(vm.Self)
	}
}

// switchOver freezes the guest, changes the VM's host, and thaws the guest.
func (m *moves) switchOver(work *move) {
	spec := m.inventory.vmSpec(work.vm)
	stun := stunBase + stunPerGB*spec.MemoryGB
	if spec.Guest.StunSeconds != nil {
		stun = *spec.Guest.StunSeconds
	}
	guest := m.guests.of(work.vm.Self)
	frozen := guest != nil && guest.freeze()
	if frozen {
		time.Sleep(time.Duration(stun * float64(time.Second)))
	} else {
		time.Sleep(m.clock.scaled(stun))
	}
	m.place(work.ctx, work.vm, work.source, work.to)
	if frozen {
		seconds := guest.thaw("vmotion")
		m.note(work.record, func(record *MoveRecord) { record.Freeze = &seconds })
	}
	now := time.Now()
	m.note(work.record, func(record *MoveRecord) { record.Switched = &now })
}
