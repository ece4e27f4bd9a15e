package main

import (
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// maintenance puts hosts into maintenance mode and takes them out of it.
type maintenance struct {
	inventory *inventory
	events    events
	tasks     *tasks
	clock     clock

	mu       sync.Mutex
	entering map[string]bool // by host MoID
	exiting  map[string]bool
}

func newMaintenance(inventory *inventory, events events, tasks *tasks, clock clock) *maintenance {
	return &maintenance{inventory: inventory, events: events, tasks: tasks, clock: clock, entering: map[string]bool{}, exiting: map[string]bool{}}
}

func (m *maintenance) isEntering(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entering[host]
}

// claim reserves the host for the caller's enter task; false if another task is already entering.
func (m *maintenance) claim(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	claimed := !m.entering[host]
	m.entering[host] = true
	return claimed
}

func (m *maintenance) unclaim(host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entering, host)
}

// claimExit reserves the host for the caller's exit task; false if another task is already taking it out of maintenance mode.
func (m *maintenance) claimExit(host string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	claimed := !m.exiting[host]
	m.exiting[host] = true
	return claimed
}

func (m *maintenance) unclaimExit(host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.exiting, host)
}

// EnterMaintenanceModeTask waits until no powered-on VM lives on the host, as an ESXi host does.
func (o *overrides) EnterMaintenanceModeTask(ctx *simulator.Context, req *types.EnterMaintenanceMode_Task) soap.HasFault {
	body := &methods.EnterMaintenanceMode_TaskBody{}
	task, fault := o.vcenter.maintenance.enter(ctx.Session.UserName, req.This, req.Timeout)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	host := o.vcenter.inventory.host(req.This)
	if drs := o.vcenter.drs[host.Parent.Value]; drs != nil {
		drs.empty(host)
	}
	body.Res = &types.EnterMaintenanceMode_TaskResponse{Returnval: task}
	return body
}

// ExitMaintenanceModeTask ends maintenance mode; while a host is only entering, its task must be cancelled instead.
func (o *overrides) ExitMaintenanceModeTask(ctx *simulator.Context, req *types.ExitMaintenanceMode_Task) soap.HasFault {
	body := &methods.ExitMaintenanceMode_TaskBody{}
	task, fault := o.vcenter.maintenance.exit(ctx.Session.UserName, req.This)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.ExitMaintenanceMode_TaskResponse{Returnval: task}
	return body
}

func (m *maintenance) enter(
	user string, ref types.ManagedObjectReference, timeout int32,
) (types.ManagedObjectReference, types.BaseMethodFault) {
	host := m.inventory.host(ref)
	if host == nil {
		return ref, &types.ManagedObjectNotFound{Obj: ref}
	}
	if host.Runtime.ConnectionState == types.HostSystemConnectionStateNotResponding {
		return ref, &types.HostNotConnected{}
	}
	if host.Runtime.InMaintenanceMode || !m.claim(host.Self.Value) {
		return ref, &types.InvalidState{}
	}
	o := m.tasks.begin(user, host, "EnterMaintenanceMode_Task", "enterMaintenanceMode")
	o.running()
	m.events.post(o.ctx, o.chain(), &types.EnteringMaintenanceModeEvent{HostEvent: m.events.ofHost(host)})
	go o.run(func() types.BaseMethodFault {
		defer m.unclaim(host.Self.Value)
		if fault := o.befall(); fault != nil {
			return fault
		}
		if fault := m.waitUntilEmpty(o, host, timeout); fault != nil {
			return fault
		}
		m.set(o.ctx, host, true)
		m.events.post(o.ctx, o.chain(), &types.EnteredMaintenanceModeEvent{HostEvent: m.events.ofHost(host)})
		return nil
	})
	return o.task.Self, nil
}

func (m *maintenance) waitUntilEmpty(o *operation, host *simulator.HostSystem, timeout int32) types.BaseMethodFault {
	var expired <-chan time.Time
	if timeout > 0 {
		expired = time.After(time.Duration(timeout) * time.Second)
	}
	for m.inventory.hasPoweredOnVMs(host) {
		if host.Runtime.ConnectionState == types.HostSystemConnectionStateNotResponding {
			return &types.HostCommunication{}
		}
		select {
		case <-o.cancel:
			return &types.RequestCanceled{}
		case <-expired:
			return &types.Timedout{}
		case <-time.After(2 * tick):
		}
	}
	if !o.pointOfNoReturn() {
		return &types.RequestCanceled{}
	}
	return nil
}

func (m *maintenance) exit(
	user string, ref types.ManagedObjectReference,
) (types.ManagedObjectReference, types.BaseMethodFault) {
	host := m.inventory.host(ref)
	if host == nil || !host.Runtime.InMaintenanceMode || !m.claimExit(host.Self.Value) {
		return ref, &types.InvalidState{}
	}
	o := m.tasks.begin(user, host, "ExitMaintenanceMode_Task", "exitMaintenanceMode")
	o.running()
	go o.run(func() types.BaseMethodFault {
		defer m.unclaimExit(host.Self.Value)
		if fault := o.befall(); fault != nil {
			return fault
		}
		time.Sleep(m.clock.scaled(1))
		m.set(o.ctx, host, false)
		m.events.post(o.ctx, o.chain(), &types.ExitMaintenanceModeEvent{HostEvent: m.events.ofHost(host)})
		return nil
	})
	return o.task.Self, nil
}

func (m *maintenance) set(ctx *simulator.Context, host *simulator.HostSystem, in bool) {
	ctx.WithLock(host, func() {
		ctx.Update(host, []types.PropertyChange{
			{Name: "runtime.inMaintenanceMode", Val: in}, {Name: "summary.runtime.inMaintenanceMode", Val: in},
		})
	})
}
