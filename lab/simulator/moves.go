package main

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	stunBase  = 0.15
	stunPerGB = 0.004
	tick      = 50 * time.Millisecond
)

// MoveRecord is what truly happened in one relocation. Tests compare measurements with it.
type MoveRecord struct {
	VM     string `json:"vm"`
	Source string `json:"source"`
	Target string `json:"target"`
	// The names of both vCenters; "" for a move within one.
	SourceVCenter string `json:"source_vcenter"`
	TargetVCenter string `json:"target_vcenter"`

	By       string     `json:"by"` // who started it: a user, or DRS
	Queued   *time.Time `json:"queued"`
	Started  *time.Time `json:"started"`
	Switched *time.Time `json:"switched"`
	Finished *time.Time `json:"finished"`
	Result   string     `json:"result"`
	// Datastores of the parts that move, by the part's name: its own files ("files") or the label of a disk.
	Storage map[string]Transfer `json:"storage"`
	Error   *string             `json:"error"`
	Freeze  *float64            `json:"freeze_seconds"`
}

// Transfer is where one part of a VM moves from and to.
type Transfer struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// moves carries out relocations as a vMotion does, and records each of them.
type moves struct {
	vcenter     *vcenter // for moves to another one
	inventory   *inventory
	events      events
	tasks       *tasks
	clock       clock
	links       *links
	slots       *slotQueue
	storage     *storage
	policies    *policies
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
		vcenter: v, inventory: v.inventory, events: v.events, tasks: v.tasks, clock: v.clock, links: v.links, slots: v.slots, storage: v.storage, policies: v.policies,
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
	relocation
	record *MoveRecord
}

// relocation is what a move changes: where the VM is, the datastores of its parts, or both.
type relocation struct {
	vm           *simulator.VirtualMachine
	source       *simulator.HostSystem
	to           *destination
	from, wanted layout
	policies     map[int32]string // ids by part; of a part that is not in it, nothing is asked
	cross        *crossing        // nil within one vCenter
}

// changesHost reports whether the VM changes its host.
func (r relocation) changesHost() bool { return r.source != r.to.host }

// RelocateVMTask replaces the simulator's instant relocation by one that behaves like a vMotion.
func (o *overrides) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	body := &methods.RelocateVM_TaskBody{}
	ref, fault := o.vcenter.moves.start(starter{user: ctx.Session.UserName}, req.This, req.Spec)
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
	ref, fault := o.vcenter.moves.start(starter{user: ctx.Session.UserName}, req.This, spec)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.MigrateVM_TaskResponse{Returnval: ref}
	return body
}

// start begins a relocation and returns its task.
func (m *moves) start(
	by starter, vmRef types.ManagedObjectReference, spec types.VirtualMachineRelocateSpec,
) (types.ManagedObjectReference, types.BaseMethodFault) {
	if spec.Service != nil {
		return m.startAcross(by, vmRef, spec)
	}
	plan, fault := m.relocation(vmRef, spec)
	if fault != nil {
		return vmRef, fault
	}
	work := &move{relocation: plan, by: by}
	record := &MoveRecord{Target: plan.to.host.Name, Storage: m.storage.transfers(plan)}
	return m.launch(work, plan.to.host.Self, record, func() types.BaseMethodFault { return m.vmotion(work) })
}

// launch begins the task of a move and carries it out, unless another move has the VM. The VM counts for target until it has moved.
func (m *moves) launch(
	work *move, target types.ManagedObjectReference, record *MoveRecord, carry func() types.BaseMethodFault,
) (types.ManagedObjectReference, types.BaseMethodFault) {
	key := work.vm.Self.Value
	if task, busy := m.claim(key, target.Value); busy {
		if task.Value != "" && m.inventory.registry.Get(task) == nil {
			// A vCenter that was restarted knows no task that moves the VM. Its host does not accept a second move.
			return work.vm.Self, &types.InvalidState{}
		}
		return work.vm.Self, &types.TaskInProgress{Task: task}
	}
	now := time.Now()
	work.operation = m.begin(work.by, work.vm)
	work.record = record
	record.VM, record.Source, record.By = m.inventory.view(work.vm).name, work.source.Name, work.by.name()
	record.Queued, record.Result = &now, "queued"
	m.mu.Lock()
	m.busy[key] = flight{work.task.Self, target.Value}
	m.records = append(m.records, record)
	m.mu.Unlock()
	go work.run(func() types.BaseMethodFault { return m.migrate(work, carry) })
	return work.task.Self, nil
}

// relocation reads a RelocateSpec: what is not set stays as it is.
func (m *moves) relocation(
	vmRef types.ManagedObjectReference, spec types.VirtualMachineRelocateSpec,
) (relocation, types.BaseMethodFault) {
	vm := m.inventory.vm(vmRef)
	if vm == nil {
		return relocation{}, &types.ManagedObjectNotFound{Obj: vmRef}
	}
	to, fault := m.destination(vm, spec)
	if fault != nil {
		return relocation{}, fault
	}
	if isDisabled(vm) {
		return relocation{}, &types.MethodDisabled{}
	}
	from := m.storage.layout(vm)
	wanted, fault := m.storage.wanted(from, spec.Datastore, spec.Disk)
	if fault != nil {
		return relocation{}, fault
	}
	policies, fault := m.policies.wanted(spec)
	if fault != nil {
		return relocation{}, fault
	}
	return relocation{
		vm: vm, source: m.inventory.host(*vm.Runtime.Host), to: to, from: from, wanted: wanted, policies: policies,
	}, nil
}

// isDisabled reports whether a program, such as one for backups, forbids moves of the VM.
func isDisabled(vm *simulator.VirtualMachine) bool {
	return reaches(vm.DisabledMethod, "RelocateVM_Task") || reaches(vm.DisabledMethod, "MigrateVM_Task")
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
func (m *moves) migrate(work *move, carry func() types.BaseMethodFault) types.BaseMethodFault {
	fault := types.BaseMethodFault(&types.SystemError{})
	defer func() { m.conclude(work, fault) }()
	fault = carry()
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
	if failed && work.to != nil { // otherwise nobody knows where the VM was to go
		m.events.post(work.ctx, work.chain(), &types.VmFailedMigrateEvent{
			VmEvent: m.events.ofVM(work.vm, work.source), DestHost: work.targetArgument(),
			Reason: m.inventory.config.localized(fault),
		})
	}
}

func (m *moves) vmotion(work *move) types.BaseMethodFault {
	release := m.occupy(work)
	if release == nil {
		return &types.RequestCanceled{}
	}
	defer release()
	now := time.Now()
	m.note(work.record, func(record *MoveRecord) { record.Started, record.Result = &now, "running" })
	work.running()
	if fault := m.faults.take(work.vm.Self.Value, work.task.Self); fault != nil {
		return fault
	}
	if fault := m.obstacle(work.relocation); fault != nil {
		return fault
	}
	if work.changesHost() {
		graphics, user := work.at(m).inventory.graphics, m.gpuUser(work.relocation)
		if fault := graphics.claim(work.to.host, user); fault != nil {
			return fault
		}
		defer graphics.ended(user)
	}
	arriving, leaving := m.storage.transferOf(work.relocation)
	// What arrives takes its space from now on; what leaves gives its space back at the end.
	far := work.at(m)
	if fault := far.storage.claim(far.inventory.as(""), work.to.host, arriving); fault != nil {
		return fault
	}
	m.announce(work)
	if fault := m.carry(work, arriving); fault != nil {
		far.storage.take(far.inventory.as(""), arriving, -1)
		return fault
	}
	m.storage.take(work.ctx, leaving, -1)
	m.report(work)
	return nil
}

// occupy waits for the slots of the move on both sides, and returns what releases them; nil if the move was cancelled first. The
// vCenter that is first in the lab comes first, so that moves in both directions never wait for each other.
func (m *moves) occupy(work *move) func() {
	here, there := m.cost(work.relocation)
	claims := []struct {
		queue *slotQueue
		slots slots
	}{{m.slots, here}, {work.at(m).slots, there}}
	if work.cross != nil && work.cross.there == m.vcenter.peers.all[0] {
		slices.Reverse(claims)
	}
	var releases []func()
	release := func() {
		for _, each := range releases {
			each()
		}
	}
	for _, claim := range claims {
		if len(claim.slots) == 0 {
			continue
		}
		if !claim.queue.acquire(claim.slots, work.cancel) {
			release()
			return nil
		}
		releases = append(releases, func() { claim.queue.release(claim.slots) })
	}
	return release
}

// cost is what the move takes of each resource here, and in the other vCenter if it leads there.
func (m *moves) cost(plan relocation) (here, there slots) {
	onHost, onDatastore := vmotionCost, 1
	if m.storage.movesFiles(plan) {
		onHost, onDatastore = storageCost, datastoreCost
	}
	here, there = slots{}, slots{}
	far := here
	if plan.cross != nil {
		far = there
	}
	here[hostSlots(plan.source.Name)], far[hostSlots(plan.to.host.Name)] = onHost, onHost
	if plan.changesHost() {
		here[networkSlots(plan.source.Name)], far[networkSlots(plan.to.host.Name)] = 1, 1
	}
	for part := range plan.from {
		if m.storage.moves(plan, part) || !m.storage.movesFiles(plan) {
			if datastore := m.storage.datastore(plan.from[part]); datastore != nil {
				here[datastoreSlots(datastore.Name)] = onDatastore
			}
			if datastore := plan.storage(m.storage).datastore(plan.wanted[part]); datastore != nil {
				far[datastoreSlots(datastore.Name)] = onDatastore
			}
		}
	}
	return here, there
}

// announce posts the event of a move that begins.
func (m *moves) announce(work *move) {
	event := m.events.ofVM(work.vm, work.source)
	if work.changesHost() {
		m.events.post(work.ctx, work.chain(), &types.VmBeingHotMigratedEvent{VmEvent: event, DestHost: work.targetArgument()})
		return
	}
	m.events.post(work.ctx, work.chain(), &types.VmBeingRelocatedEvent{
		VmRelocateSpecEvent: types.VmRelocateSpecEvent{VmEvent: event}, DestHost: *hostArgument(work.to.host),
	})
}

// targetArgument names the target host in an event of the vCenter that the VM leaves.
func (r relocation) targetArgument() types.HostEventArgument {
	argument := *hostArgument(r.to.host)
	if r.cross != nil {
		argument.Host = r.cross.there.inventory.abroad(argument.Host)
	}
	return argument
}

// reportCrossing posts the events of a move that is over: the VM is removed here, and has come there. That these are the events is
// assumed.
func (m *moves) reportCrossing(work *move) {
	m.events.post(work.ctx, work.chain(), &types.VmRemovedEvent{VmEvent: m.events.ofVM(work.vm, work.source)})
	there, arrived := work.cross.there, work.cross.arrived
	if arrived == nil {
		return
	}
	source := *hostArgument(work.source)
	source.Host = m.inventory.abroad(source.Host)
	there.events.post(there.inventory.as(work.cross.user), 0, &types.VmMigratedEvent{
		VmEvent: there.events.ofVM(arrived, work.to.host), SourceHost: source,
	})
}

// report posts the event of a move that is over.
func (m *moves) report(work *move) {
	if work.cross != nil {
		m.reportCrossing(work)
		return
	}
	migrated := types.VmMigratedEvent{VmEvent: m.events.ofVM(work.vm, work.to.host), SourceHost: *hostArgument(work.source)}
	switch {
	case !work.changesHost():
		m.events.post(work.ctx, work.chain(), &types.VmRelocatedEvent{
			VmRelocateSpecEvent: types.VmRelocateSpecEvent{VmEvent: migrated.VmEvent}, SourceHost: migrated.SourceHost,
		})
	case work.by.drs:
		m.events.post(work.ctx, work.chain(), &types.DrsVmMigratedEvent{VmMigratedEvent: migrated})
	default:
		m.events.post(work.ctx, work.chain(), &migrated)
	}
}

// carry copies the parts that move, and then the memory of the VM if its host changes.
func (m *moves) carry(work *move, arriving map[types.ManagedObjectReference]int64) types.BaseMethodFault {
	copied := newCopying(work, arriving, m.inventory.vmSpec(work.vm).memoryUsed())
	if fault := m.copyFiles(work, copied); fault != nil {
		return fault
	}
	guest := m.guests.live(work.vm.Self)
	if guest != nil && guest.runs() && work.changesHost() {
		return m.migrateLive(work, guest, copied)
	}
	return m.imitate(work, copied)
}

// imitate is a vMotion of a VM that does not really run: the copy takes as long as it would, and the guest is frozen.
func (m *moves) imitate(work *move, copied *copying) types.BaseMethodFault {
	if work.changesHost() {
		if fault := m.copyMemory(work, copied); fault != nil {
			return fault
		}
	}
	m.vcenter.peers.switching.RLock()
	defer m.vcenter.peers.switching.RUnlock()
	if fault := m.hostObstacle(work.relocation); fault != nil {
		return fault
	}
	if !work.pointOfNoReturn() {
		return &types.RequestCanceled{}
	}
	return m.switchOver(work)
}

// migrateLive moves a real VM by a live migration of its hypervisor.
func (m *moves) migrateLive(work *move, guest *liveGuest, copied *copying) types.BaseMethodFault {
	line := m.line(work.relocation)
	line.occupy(1)
	defer line.occupy(-1)
	var obstacle types.BaseMethodFault
	freeze, err := guest.migrate(transfer{
		progress: copied.ofMemory, cancel: work.cancel, pointOfNoReturn: work.pointOfNoReturn,
		bandwidth: line.bandwidth,
		possible: func() bool {
			obstacle = m.hostObstacle(work.relocation)
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
	m.arrive(work)
	now := time.Now()
	m.note(work.record, func(record *MoveRecord) { record.Switched = &now })
	return nil
}

// arrive changes where the VM is, and the datastores of its parts.
func (m *moves) arrive(work *move) {
	if work.cross != nil {
		m.handOver(work)
		return
	}
	m.policies.moved(work.relocation)
	if !maps.Equal(work.from, work.wanted) {
		m.storage.place(work.ctx, work.relocation)
	}
	m.place(work.ctx, work.vm, work.source, work.to)
}

// place changes where a VM lives. A VM that leaves its cluster loses its overrides there.
func (m *moves) place(ctx *simulator.Context, vm *simulator.VirtualMachine, source *simulator.HostSystem, to *destination) {
	m.inventory.place(ctx, vm, source, to)
	if *source.Parent != *to.host.Parent {
		m.cluster.discard(vm.Self)
	}
}

// placeAtOnce moves a VM without the time that a move takes. As with each move, vCenter's events say by whom.
func (m *moves) placeAtOnce(ctx *simulator.Context, vm *simulator.VirtualMachine, source *simulator.HostSystem, to *destination) {
	m.place(ctx, vm, source, to)
	if source.Self != to.host.Self {
		m.events.post(ctx, 0, &types.VmMigratedEvent{VmEvent: m.events.ofVM(vm, to.host), SourceHost: *hostArgument(source)})
	}
}

// switchOver freezes the guest, changes the VM's host, and thaws the guest. If the WAN breaks meanwhile, the VM stays at the source.
func (m *moves) switchOver(work *move) types.BaseMethodFault {
	line, spec := m.line(work.relocation), m.inventory.vmSpec(work.vm)
	stun := stunBase + stunPerGB*spec.MemoryGB
	if work.changesHost() {
		stun = max(stun, vgpuStun(spec, line.mbit()))
	}
	if spec.Guest.StunSeconds != nil {
		stun = *spec.Guest.StunSeconds
	}
	stun += stunRoundTrips * line.latency().Seconds()
	guest := m.guests.of(work.vm.Self)
	frozen := guest != nil && guest.freeze()
	if frozen {
		time.Sleep(time.Duration(stun * float64(time.Second)))
	} else {
		time.Sleep(m.clock.scaled(stun))
	}
	fault := line.broken()
	if fault == nil {
		m.arrive(work)
	}
	if frozen {
		seconds := guest.thaw("vmotion")
		m.note(work.record, func(record *MoveRecord) { record.Freeze = &seconds })
	}
	if fault == nil {
		now := time.Now()
		m.note(work.record, func(record *MoveRecord) { record.Switched = &now })
	}
	return fault
}
