package main

import (
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func (s *sddc) isEntering(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entering[host] != nil
}

// EnterMaintenanceModeTask waits until no powered-on VM lives on the host, as an ESXi host does.
func (o *overrides) EnterMaintenanceModeTask(ctx *simulator.Context, req *types.EnterMaintenanceMode_Task) soap.HasFault {
	body := &methods.EnterMaintenanceMode_TaskBody{}
	host := o.host(req.This)
	if host == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})
		return body
	}
	o.mu.Lock()
	taken := o.entering[host.Self.Value] != nil
	o.mu.Unlock()
	if taken || host.Runtime.InMaintenanceMode {
		body.Fault_ = simulator.Fault("", &types.InvalidState{})
		return body
	}
	operation := o.begin(ctx.Session.UserName, host, "enterMaintenanceMode")
	o.mu.Lock()
	o.entering[host.Self.Value] = operation
	o.mu.Unlock()
	operation.running()
	o.post(operation.ctx, operation.task.Info.EventChainId, &types.EnteringMaintenanceModeEvent{HostEvent: o.hostEvent(host)})
	go o.enter(operation, host, req.Timeout)
	body.Res = &types.EnterMaintenanceMode_TaskResponse{Returnval: operation.task.Self}
	return body
}

func (s *sddc) enter(o *operation, host *simulator.HostSystem, timeout int32) {
	fault := s.waitUntilEmpty(o, host, timeout)
	s.mu.Lock()
	delete(s.entering, host.Self.Value)
	s.mu.Unlock()
	if fault == nil {
		s.setMaintenance(o.ctx, host, true)
		s.post(o.ctx, o.task.Info.EventChainId, &types.EnteredMaintenanceModeEvent{HostEvent: s.hostEvent(host)})
	}
	o.finish(fault)
}

func (s *sddc) waitUntilEmpty(o *operation, host *simulator.HostSystem, timeout int32) types.BaseMethodFault {
	var expired <-chan time.Time
	if timeout > 0 {
		expired = time.After(time.Duration(timeout) * time.Second)
	}
	for s.carries(host) {
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

func (s *sddc) carries(host *simulator.HostSystem) bool {
	for _, vm := range all[*simulator.VirtualMachine](s, "VirtualMachine") {
		if *vm.Runtime.Host == host.Self && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			return true
		}
	}
	return false
}

// ExitMaintenanceModeTask ends maintenance mode; a host that is only entering must have its task cancelled.
func (o *overrides) ExitMaintenanceModeTask(ctx *simulator.Context, req *types.ExitMaintenanceMode_Task) soap.HasFault {
	body := &methods.ExitMaintenanceMode_TaskBody{}
	host := o.host(req.This)
	if host == nil || !host.Runtime.InMaintenanceMode {
		body.Fault_ = simulator.Fault("", &types.InvalidState{})
		return body
	}
	operation := o.begin(ctx.Session.UserName, host, "exitMaintenanceMode")
	operation.running()
	go func() {
		time.Sleep(o.scaled(1))
		o.setMaintenance(operation.ctx, host, false)
		o.post(operation.ctx, operation.task.Info.EventChainId, &types.ExitMaintenanceModeEvent{HostEvent: o.hostEvent(host)})
		operation.finish(nil)
	}()
	body.Res = &types.ExitMaintenanceMode_TaskResponse{Returnval: operation.task.Self}
	return body
}

func (s *sddc) setMaintenance(ctx *simulator.Context, host *simulator.HostSystem, in bool) {
	ctx.WithLock(host, func() {
		ctx.Update(host, []types.PropertyChange{
			{Name: "runtime.inMaintenanceMode", Val: in}, {Name: "summary.runtime.inMaintenanceMode", Val: in},
		})
	})
}

func (s *sddc) hostEvent(host *simulator.HostSystem) types.HostEvent {
	return types.HostEvent{Event: types.Event{
		Host: hostArgument(host),
		ComputeResource: &types.ComputeResourceEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: s.cluster.Name}, ComputeResource: s.cluster.Self,
		},
		Datacenter: &types.DatacenterEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: s.config.Datacenter},
			Datacenter:          s.registry.Any("Datacenter").Reference(),
		},
	}}
}
