package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// obstacle is the fault with which a vCenter would fail the move now; nil if the move is possible.
func (m *moves) obstacle(vm *simulator.VirtualMachine, source, target *simulator.HostSystem) types.BaseMethodFault {
	switch {
	case m.inventory.vm(vm.Self) == nil:
		return &types.ManagedObjectNotFound{Obj: vm.Self}
	case vm.Config.Template:
		return &types.NotSupported{}
	case source.Runtime.ConnectionState != types.HostSystemConnectionStateConnected,
		target.Runtime.ConnectionState != types.HostSystemConnectionStateConnected:
		return &types.HostNotConnected{}
	case target.Runtime.InMaintenanceMode || m.maintenance.isEntering(target.Self.Value):
		return &types.InvalidHostState{Host: &target.Self}
	case !target.Summary.Config.VmotionEnabled:
		return &types.VMotionNotConfigured{}
	}
	for _, datastore := range vm.Datastore {
		if !slices.Contains(target.Datastore, datastore) {
			return &types.CannotAccessVmConfig{Reason: types.LocalizedMethodFault{Fault: &types.InvalidDatastore{Datastore: &datastore}}}
		}
	}
	for _, network := range vm.Network {
		if !slices.Contains(target.Network, network) {
			return &types.CannotAccessNetwork{CannotAccessVmDevice: types.CannotAccessVmDevice{
				Device: "Network adapter 1", Backing: network.Value,
			}}
		}
	}
	if fault := m.attachedDevice(vm); fault != nil {
		return fault
	}
	if fault := m.violatedRule(vm, target); fault != nil {
		return fault
	}
	free := target.Hardware.MemorySize - int64(target.Summary.QuickStats.OverallMemoryUsage)<<20
	needed := int64(m.inventory.vmSpec(vm).memoryUsed() * gib)
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn && needed > free {
		return &types.InsufficientMemoryResourcesFault{Unreserved: free, Requested: needed}
	}
	return nil
}

// attachedDevice is the fault of a device that exists on the source host alone.
func (m *moves) attachedDevice(vm *simulator.VirtualMachine) types.BaseMethodFault {
	for _, kind := range m.inventory.vmSpec(vm).Devices {
		switch kind {
		case "passthrough", "cdrom_host", "usb_host":
			return &types.DisallowedMigrationDeviceAttached{
				Fault: types.LocalizedMethodFault{Fault: &types.DeviceNotSupported{
					VirtualHardwareCompatibilityIssue: types.VirtualHardwareCompatibilityIssue{}, Device: kind,
				}},
			}
		}
	}
	return nil
}

// violatedRule is the fault of a mandatory VM-host rule that the target breaks.
func (m *moves) violatedRule(vm *simulator.VirtualMachine, target *simulator.HostSystem) types.BaseMethodFault {
	for _, rule := range m.inventory.config.Clusters[0].Rules {
		if rule.Kind == "vm_host" && rule.Mandatory && slices.Contains(rule.VMs, vm.Name) &&
			!slices.Contains(rule.Hosts, target.Name) {
			return &types.VmHostAffinityRuleViolation{VmName: vm.Name, HostName: target.Name}
		}
	}
	return nil
}
