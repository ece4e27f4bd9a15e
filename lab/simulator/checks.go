package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// QueryVMotionCompatibilityExTask checks each VM with each host. All hosts are taken for connected and in service, and storage,
// networks and free memory are not checked.
func (o *overrides) QueryVMotionCompatibilityExTask(
	ctx *simulator.Context, req *types.QueryVMotionCompatibilityEx_Task,
) soap.HasFault {
	moves := o.vcenter.moves
	ref, fault := o.check(ctx, "queryVMotionCompatibilityEx", req.Vm, func() []types.CheckResult {
		var results []types.CheckResult
		for _, vm := range req.Vm {
			for _, host := range req.Host {
				results = append(results, moves.compared(vm, host))
			}
		}
		return results
	})
	return &methods.QueryVMotionCompatibilityEx_TaskBody{
		Fault_: fault, Res: &types.QueryVMotionCompatibilityEx_TaskResponse{Returnval: ref},
	}
}

// compared is what prevents the move of a VM to a host whatever their states are.
func (m *moves) compared(vmRef, hostRef types.ManagedObjectReference) types.CheckResult {
	result := types.CheckResult{Vm: &vmRef, Host: &hostRef}
	vm, host := m.inventory.vm(vmRef), m.inventory.host(hostRef)
	if vm == nil || host == nil {
		result.Error = []types.LocalizedMethodFault{m.inventory.config.localized(&types.ManagedObjectNotFound{Obj: hostRef})}
		return result
	}
	source := m.inventory.host(m.inventory.view(vm).host)
	if host == source {
		return result
	}
	for _, fault := range m.generalObstacles(relocation{vm: vm, source: source, to: &destination{host: host}}) {
		result.Error = append(result.Error, m.inventory.config.localized(fault))
	}
	return result
}

// CheckRelocateTask checks one relocation as RelocateVM_Task would. Without a host it checks each host of the cluster.
func (o *overrides) CheckRelocateTask(ctx *simulator.Context, req *types.CheckRelocate_Task) soap.HasFault {
	ref, fault := o.checkMove(ctx, "checkRelocate", req.Vm, req.Spec)
	return &methods.CheckRelocate_TaskBody{Fault_: fault, Res: &types.CheckRelocate_TaskResponse{Returnval: ref}}
}

// CheckMigrateTask is the same for MigrateVM_Task. A VM in another power state than the one that is asked for cannot move.
func (o *overrides) CheckMigrateTask(ctx *simulator.Context, req *types.CheckMigrate_Task) soap.HasFault {
	vm := o.vcenter.inventory.vm(req.Vm)
	if vm != nil && req.State != "" && o.vcenter.inventory.view(vm).power != req.State {
		ref, fault := o.check(ctx, "checkMigrate", []types.ManagedObjectReference{req.Vm}, func() []types.CheckResult {
			wrong := &types.InvalidPowerState{RequestedState: req.State, ExistingState: vm.Runtime.PowerState}
			return []types.CheckResult{{Vm: &req.Vm, Host: req.Host, Error: []types.LocalizedMethodFault{o.vcenter.config.localized(wrong)}}}
		})
		return &methods.CheckMigrate_TaskBody{Fault_: fault, Res: &types.CheckMigrate_TaskResponse{Returnval: ref}}
	}
	ref, fault := o.checkMove(ctx, "checkMigrate", req.Vm, types.VirtualMachineRelocateSpec{Host: req.Host, Pool: req.Pool})
	return &methods.CheckMigrate_TaskBody{Fault_: fault, Res: &types.CheckMigrate_TaskResponse{Returnval: ref}}
}

func (o *overrides) checkMove(
	ctx *simulator.Context, word string, vm types.ManagedObjectReference, spec types.VirtualMachineRelocateSpec,
) (types.ManagedObjectReference, *soap.Fault) {
	moves := o.vcenter.moves
	return o.check(ctx, word, []types.ManagedObjectReference{vm}, func() []types.CheckResult {
		if spec.Host != nil || spec.Datastore != nil || spec.Pool != nil {
			return []types.CheckResult{moves.checked(vm, spec)}
		}
		var results []types.CheckResult
		source := o.vcenter.inventory.host(o.vcenter.inventory.view(o.vcenter.inventory.vm(vm)).host)
		for _, each := range o.vcenter.inventory.hosts() {
			connected := each.Runtime.ConnectionState == types.HostSystemConnectionStateConnected
			if connected && !each.Runtime.InMaintenanceMode && *each.Parent == *source.Parent {
				spec.Host = &each.Self
				results = append(results, moves.checked(vm, spec))
			}
		}
		return results
	})
}

// check runs a check in a task of the first VM.
func (o *overrides) check(
	ctx *simulator.Context, word string, vms []types.ManagedObjectReference, results func() []types.CheckResult,
) (types.ManagedObjectReference, *soap.Fault) {
	for _, ref := range vms {
		if o.vcenter.inventory.vm(ref) == nil {
			return ref, simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})
		}
	}
	if len(vms) == 0 {
		return types.ManagedObjectReference{}, simulator.Fault("", &types.InvalidArgument{InvalidProperty: "vm"})
	}
	work := o.vcenter.tasks.beginInternal(ctx.Session.UserName, o.vcenter.inventory.vm(vms[0]), "vm.check.ProvisioningChecker."+word)
	work.running()
	go work.run(func() types.BaseMethodFault {
		found := types.ArrayOfCheckResult{CheckResult: results()}
		work.update(types.PropertyChange{Name: "info.result", Val: found})
		return nil
	})
	return work.task.Self, nil
}

// checked is the result for one VM and a specification.
func (m *moves) checked(vmRef types.ManagedObjectReference, spec types.VirtualMachineRelocateSpec) types.CheckResult {
	result, localized := types.CheckResult{Vm: &vmRef, Host: spec.Host}, m.inventory.config.localized
	plan, faults := m.checkedPlan(vmRef, spec)
	if plan.to != nil {
		faults = append(faults, m.obstacles(plan)...)
	}
	for _, fault := range faults {
		result.Error = append(result.Error, localized(fault))
	}
	if plan.to == nil {
		return result
	}
	if plan.cross == nil {
		result.Host = &plan.to.host.Self
	}
	if slices.Contains(m.inventory.vmSpec(plan.vm).Devices, "cdrom_iso") {
		result.Warning = append(result.Warning, localized(&types.CannotAccessVmDevice{Device: "CD/DVD drive 1", Backing: "image.iso"}))
	}
	return result
}

// checkedPlan reads a specification within this vCenter or to another one, and what is wrong with it; without a destination if it
// cannot be read.
func (m *moves) checkedPlan(
	vmRef types.ManagedObjectReference, spec types.VirtualMachineRelocateSpec,
) (relocation, []types.BaseMethodFault) {
	if spec.Service == nil {
		plan, fault := m.relocation(vmRef, spec)
		if fault != nil {
			return relocation{}, []types.BaseMethodFault{fault}
		}
		return plan, nil
	}
	vm, fault := m.leaving(vmRef, spec)
	if fault != nil {
		return relocation{}, []types.BaseMethodFault{fault}
	}
	return m.across(vm, spec)
}
