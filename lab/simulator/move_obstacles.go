package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// obstacle is the fault with which a vCenter would fail the move now; nil if the move is possible.
func (m *moves) obstacle(plan relocation) types.BaseMethodFault {
	if fault := m.hostObstacle(plan); fault != nil {
		return fault
	}
	arriving, _ := m.storage.transferOf(plan)
	if fault := m.storage.obstacle(plan.to.host, arriving); fault != nil {
		return fault
	}
	for _, disk := range disks(plan.vm) {
		backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if ok && m.storage.moves(plan, disk.Key) && backing.Sharing == multiWriter {
			return &types.MultiWriterNotSupported{DeviceNotSupported: types.DeviceNotSupported{
				Device: disk.DeviceInfo.GetDescription().Label,
			}}
		}
	}
	return nil
}

// hostObstacle is the part of it that does not lie in the datastores that take something.
func (m *moves) hostObstacle(plan relocation) types.BaseMethodFault {
	vm, source := plan.vm, plan.source
	switch {
	case m.inventory.vm(vm.Self) == nil:
		return &types.ManagedObjectNotFound{Obj: vm.Self}
	case vm.Config.Template:
		return &types.NotSupported{}
	case source.Runtime.ConnectionState != types.HostSystemConnectionStateConnected:
		return &types.HostNotConnected{}
	case !plan.changesHost():
		return nil
	}
	return m.targetObstacle(plan)
}

// targetObstacle is the part of it that lies in a new host.
func (m *moves) targetObstacle(plan relocation) types.BaseMethodFault {
	vm, source, target := plan.vm, plan.source, plan.to.host
	switch {
	case target.Runtime.ConnectionState != types.HostSystemConnectionStateConnected:
		return &types.HostNotConnected{}
	case target.Runtime.InMaintenanceMode || m.maintenance.isEntering(target.Self.Value):
		return &types.InvalidHostState{Host: &target.Self}
	case !target.Summary.Config.VmotionEnabled, !source.Summary.Config.VmotionEnabled:
		return &types.VMotionNotConfigured{}
	case m.inventory.isFailoverHost(target):
		return &types.DisallowedOperationOnFailoverHost{Host: target.Self, Hostname: target.Name}
	case vm.Config.Hardware.NumCPU > int32(target.Summary.Hardware.NumCpuThreads):
		return &types.NumVirtualCpusExceedsLimit{MaxSupportedVcpus: int32(target.Summary.Hardware.NumCpuThreads)}
	case m.inventory.vmSpec(vm).HardwareVersion > newestHardware(target.Summary.Config.Product.Version):
		return &types.VirtualHardwareVersionNotSupported{HostName: target.Name, Host: target.Self}
	}
	for _, datastore := range plan.datastores() {
		if !slices.Contains(target.Datastore, datastore) || !m.storage.reaches(target, datastore) {
			return &types.CannotAccessVmConfig{Reason: types.LocalizedMethodFault{Fault: &types.InvalidDatastore{Datastore: &datastore}}}
		}
	}
	for _, card := range cards(vm) {
		if isUnplugged(vm, card) {
			continue
		}
		if network, name := m.inventory.networkAt(plan.to, card); network == nil {
			return &types.CannotAccessNetwork{CannotAccessVmDevice: types.CannotAccessVmDevice{
				Device: card.DeviceInfo.GetDescription().Label, Backing: name,
			}}
		}
	}
	if fault := m.attachedDevice(vm); fault != nil {
		return fault
	}
	if fault := m.missingProfile(vm, target); fault != nil {
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

// datastores are those of the VM after the relocation.
func (r relocation) datastores() []types.ManagedObjectReference {
	left := slices.Collect(maps.Values(r.from))
	found := slices.DeleteFunc(slices.Clone(r.vm.Datastore), func(ref types.ManagedObjectReference) bool {
		return slices.Contains(left, ref)
	})
	for _, part := range slices.Sorted(maps.Keys(r.wanted)) {
		found = added(found, r.wanted[part])
	}
	return found
}

const multiWriter = string(types.VirtualDiskSharingSharingMultiWriter)

// newestHardware is the newest virtual hardware version of an ESXi version (Broadcom KB 315655).
func newestHardware(esxi string) int {
	for _, known := range []struct {
		esxi     string
		hardware int
	}{{"9.", 22}, {"8.0.0", 20}, {"8.0.1", 20}, {"8.", 21}, {"7.0.0", 17}, {"7.0.1", 18}, {"7.", 19}, {"6.7", 15}} {
		if strings.HasPrefix(esxi, known.esxi) {
			return known.hardware
		}
	}
	return 13
}

// missingProfile is the fault of a vGPU profile that the target does not offer.
func (m *moves) missingProfile(vm *simulator.VirtualMachine, target *simulator.HostSystem) types.BaseMethodFault {
	for _, kind := range m.inventory.vmSpec(vm).Devices {
		if kind == "vgpu" && !slices.Contains(target.Config.SharedPassthruGpuTypes, vgpuProfile) {
			return &types.InsufficientGraphicsResourcesFault{}
		}
	}
	return nil
}

// attachedDevice is the fault of a device that exists on the source host alone.
func (m *moves) attachedDevice(vm *simulator.VirtualMachine) types.BaseMethodFault {
	for _, kind := range m.inventory.vmSpec(vm).Devices {
		switch kind {
		case "passthrough", "cdrom_host", "usb_host", "serial_uri", "scsi_host":
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
	cluster := m.inventory.clusterOf(target)
	if cluster == nil {
		return nil
	}
	rules := enabledRules(m.inventory.clusterConfiguration(cluster))
	if rules.mustNot(vm.Self.Value, target.Self.Value) != nil {
		return &types.VmHostAffinityRuleViolation{VmName: vm.Name, HostName: target.Name}
	}
	return nil
}
