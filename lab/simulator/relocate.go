package main

import (
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	setupSeconds = 3.0
	linkShare    = 0.8
	stunBase     = 0.15
	stunPerGB    = 0.004
	tick         = 50 * time.Millisecond
)

// MoveRecord is the oracle's account of one relocation.
type MoveRecord struct {
	VM       string     `json:"vm"`
	Source   string     `json:"source"`
	Target   string     `json:"target"`
	Queued   *time.Time `json:"queued"`
	Started  *time.Time `json:"started"`
	Switched *time.Time `json:"switched"`
	Finished *time.Time `json:"finished"`
	Result   string     `json:"result"`
	Error    *string    `json:"error"`
	Freeze   *float64   `json:"freeze_seconds"`
}

// RelocateVMTask replaces the simulator's instant relocation by one that behaves like a vMotion.
func (o *overrides) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	body := &methods.RelocateVM_TaskBody{}
	ref, fault := o.relocate(ctx.Session.UserName, req.This, req.Spec.Host, vmotionCost)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.RelocateVM_TaskResponse{Returnval: *ref}
	return body
}

// MigrateVMTask is the older call for the same.
func (o *overrides) MigrateVMTask(ctx *simulator.Context, req *types.MigrateVM_Task) soap.HasFault {
	body := &methods.MigrateVM_TaskBody{}
	ref, fault := o.relocate(ctx.Session.UserName, req.This, req.Host, vmotionCost)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.MigrateVM_TaskResponse{Returnval: *ref}
	return body
}

func (o *overrides) relocate(
	user string, vmRef types.ManagedObjectReference, hostRef *types.ManagedObjectReference, cost int,
) (*types.ManagedObjectReference, types.BaseMethodFault) {
	vm := o.vm(vmRef)
	if vm == nil {
		return nil, &types.ManagedObjectNotFound{Obj: vmRef}
	}
	if hostRef == nil || o.host(*hostRef) == nil {
		return nil, &types.InvalidArgument{InvalidProperty: "spec.host"}
	}
	if reaches(vm.DisabledMethod, "RelocateVM_Task") || reaches(vm.DisabledMethod, "MigrateVM_Task") {
		return nil, &types.MethodDisabled{}
	}
	o.mu.Lock()
	task, busy := o.busy[vmRef.Value]
	if !busy {
		o.busy[vmRef.Value] = types.ManagedObjectReference{}
	}
	o.mu.Unlock()
	if busy {
		return nil, &types.TaskInProgress{Task: task}
	}
	source, target := o.host(*vm.Runtime.Host), o.host(*hostRef)
	operation := o.begin(user, vm, "relocate")
	now := time.Now()
	record := &MoveRecord{VM: vm.Name, Source: source.Name, Target: target.Name, Queued: &now, Result: "queued"}
	o.mu.Lock()
	o.busy[vmRef.Value] = operation.task.Self
	o.moves = append(o.moves, record)
	o.mu.Unlock()
	go o.migrate(operation, vm, source, target, cost, record)
	return &operation.task.Self, nil
}

func (s *sddc) migrate(
	o *operation, vm *simulator.VirtualMachine, source, target *simulator.HostSystem, cost int, record *MoveRecord,
) {
	fault := s.vmotion(o, vm, source, target, cost, record)
	now := time.Now()
	s.mu.Lock()
	record.Finished, record.Result = &now, "success"
	if fault != nil {
		name := faultName(fault)
		record.Result, record.Error = "error", &name
		if name == "RequestCanceled" {
			record.Result = "cancelled"
		}
	}
	delete(s.busy, vm.Self.Value)
	s.mu.Unlock()
	if fault != nil && record.Result == "error" {
		s.post(o.ctx, o.task.Info.EventChainId, &types.VmFailedMigrateEvent{
			VmEvent: s.vmEvent(vm, source), DestHost: *hostArgument(target),
			Reason: types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultName(fault)},
		})
	}
	o.finish(fault)
}

func (s *sddc) vmotion(
	o *operation, vm *simulator.VirtualMachine, source, target *simulator.HostSystem, cost int, record *MoveRecord,
) types.BaseMethodFault {
	if !s.slots.acquire(source.Name, target.Name, cost, o.cancel) {
		return &types.RequestCanceled{}
	}
	defer s.slots.release(source.Name, target.Name, cost)
	now := time.Now()
	s.mu.Lock()
	record.Started, record.Result = &now, "running"
	s.mu.Unlock()
	o.running()
	if fault := s.takeFault(vm.Self.Value, o.task.Self); fault != nil {
		return fault
	}
	if fault := s.impossible(vm, source, target); fault != nil {
		return fault
	}
	s.post(o.ctx, o.task.Info.EventChainId, &types.VmBeingHotMigratedEvent{
		VmEvent: s.vmEvent(vm, source), DestHost: *hostArgument(target),
	})
	if !s.copyMemory(o, vm, source, target) {
		return &types.RequestCanceled{}
	}
	if fault := s.impossible(vm, source, target); fault != nil {
		return fault
	}
	if !o.pointOfNoReturn() {
		return &types.RequestCanceled{}
	}
	s.switchOver(o, vm, source, target, record)
	s.post(o.ctx, o.task.Info.EventChainId, &types.VmMigratedEvent{
		VmEvent: s.vmEvent(vm, target), SourceHost: *hostArgument(source),
	})
	return nil
}

// copyMemory is the pre-copy: consumed memory over this move's share of both links.
func (s *sddc) copyMemory(o *operation, vm *simulator.VirtualMachine, source, target *simulator.HostSystem) bool {
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return true
	}
	s.occupy(1, source.Name, target.Name)
	defer s.occupy(-1, source.Name, target.Name)
	total := s.spec[vm.Self.Value].memoryUsed() * gib * 8
	setup := s.scaled(setupSeconds)
	left, shown, last := total, -1, time.Now()
	ticker := time.NewTicker(min(tick, max(time.Millisecond, s.scaled(0.5))))
	defer ticker.Stop()
	for left > 0 || setup > 0 {
		select {
		case <-o.cancel:
			return false
		case now := <-ticker.C:
			passed := now.Sub(last)
			last = now
			if setup > 0 {
				setup -= passed
				continue
			}
			left -= s.bandwidth(source.Name, target.Name) * passed.Seconds() / s.config.TimeScale
			if percent := max(0, min(95, int(100*(1-left/total)))); percent >= shown+2 {
				shown = percent
				o.progress(percent)
			}
		}
	}
	return true
}

func (s *sddc) occupy(by int, hosts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, host := range hosts {
		s.moving[host] += by
	}
}

// bandwidth is a move's share of the slower end, bit/s.
func (s *sddc) bandwidth(source, target string) float64 {
	share := func(host string) float64 {
		link := s.linkOf(host)
		s.mu.Lock()
		defer s.mu.Unlock()
		return linkShare * float64(link) * 1e6 / float64(max(1, s.moving[host]))
	}
	return min(share(source), share(target))
}

// switchOver stops the guest, changes where the VM lives, and lets the guest go on.
func (s *sddc) switchOver(
	o *operation, vm *simulator.VirtualMachine, source, target *simulator.HostSystem, record *MoveRecord,
) {
	spec := s.spec[vm.Self.Value]
	stun := stunBase + stunPerGB*spec.MemoryGB
	if spec.Guest.StunSeconds != nil {
		stun = *spec.Guest.StunSeconds
	}
	guest := s.guests[vm.Self.Value]
	frozen := guest != nil && guest.freeze()
	if frozen {
		time.Sleep(time.Duration(stun * float64(time.Second)))
	} else {
		time.Sleep(s.scaled(stun))
	}
	s.place(o.ctx, vm, source, target)
	if frozen {
		seconds := guest.thaw("vmotion")
		s.mu.Lock()
		record.Freeze = &seconds
		s.mu.Unlock()
	}
	now := time.Now()
	s.mu.Lock()
	record.Switched = &now
	s.mu.Unlock()
}

// place keeps every list that names the VM or its host right.
func (s *sddc) place(ctx *simulator.Context, vm *simulator.VirtualMachine, source, target *simulator.HostSystem) {
	ctx.WithLock(vm, func() {
		ctx.Update(vm, []types.PropertyChange{
			{Name: "runtime.host", Val: &target.Self}, {Name: "summary.runtime.host", Val: &target.Self},
		})
	})
	ctx.WithLock(source, func() { s.registry.RemoveReference(ctx, source, &source.Vm, vm.Self) })
	ctx.WithLock(target, func() { s.registry.AppendReference(ctx, target, &target.Vm, vm.Self) })
	s.refreshLoad()
}

func (s *sddc) takeFault(vm string, task types.ManagedObjectReference) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	queued := s.faults[vm]
	if len(queued) == 0 {
		return nil
	}
	s.faults[vm] = queued[1:]
	return newFault(queued[0], task)
}
