package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// obstacle is the first fault with which a vCenter would fail the move now; nil if the move is possible.
func (m *moves) obstacle(plan relocation) types.BaseMethodFault {
	return first(m.obstacles(plan))
}

// hostObstacle is the part of it that does not lie in the datastores that take something.
func (m *moves) hostObstacle(plan relocation) types.BaseMethodFault {
	return first(m.hostObstacles(plan))
}

func first(faults []types.BaseMethodFault) types.BaseMethodFault {
	if len(faults) > 0 {
		return faults[0]
	}
	return nil
}

// obstacles are all faults with which a vCenter would fail the move now.
func (m *moves) obstacles(plan relocation) []types.BaseMethodFault {
	found := m.hostObstacles(plan)
	if m.inventory.vm(plan.vm.Self) == nil {
		return found
	}
	return append(found, m.fileObstacles(plan)...)
}

func (m *moves) hostObstacles(plan relocation) []types.BaseMethodFault {
	if m.inventory.vm(plan.vm.Self) == nil {
		return []types.BaseMethodFault{&types.ManagedObjectNotFound{Obj: plan.vm.Self}}
	}
	var found []types.BaseMethodFault
	if plan.vm.Config.Template {
		found = append(found, &types.NotSupported{})
	}
	if m.inventory.view(plan.vm).host != plan.source.Self { // HA has started it on another host
		found = append(found, &types.HostCommunication{})
	}
	if plan.source.Runtime.ConnectionState != types.HostSystemConnectionStateConnected {
		found = append(found, &types.HostNotConnected{})
	}
	if plan.changesHost() {
		found = append(found, plan.at(m).stateObstacles(plan.to.host)...)
		found = append(found, m.generalObstacles(plan)...)
		found = append(found, m.connectivityObstacles(plan)...)
		found = append(found, m.capacityObstacles(plan)...)
	}
	if plan.cross != nil {
		found = append(found, m.crossingObstacles(plan)...)
	}
	return found
}

// fileObstacles lie in what changes its datastore, and in the datastores that take it.
func (m *moves) fileObstacles(plan relocation) (found []types.BaseMethodFault) {
	arriving, _ := m.storage.transferOf(plan)
	if fault := plan.at(m).storage.obstacle(plan.to.host, arriving); fault != nil {
		found = append(found, fault)
	}
	for _, disk := range disks(plan.vm) {
		backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if ok && m.storage.moves(plan, disk.Key) && backing.Sharing == multiWriter {
			found = append(found, &types.MultiWriterNotSupported{DeviceNotSupported: types.DeviceNotSupported{
				Device: disk.DeviceInfo.GetDescription().Label,
			}})
		}
	}
	return found
}

// isDown reports whether one of the hosts has failed.
func (r relocation) isDown() bool {
	return slices.ContainsFunc([]*simulator.HostSystem{r.source, r.to.host}, func(host *simulator.HostSystem) bool {
		return host.Runtime.ConnectionState == types.HostSystemConnectionStateNotResponding
	})
}

// stateObstacles lie in the state of the target, which may change in a moment.
func (m *moves) stateObstacles(target *simulator.HostSystem) (found []types.BaseMethodFault) {
	if target.Runtime.ConnectionState != types.HostSystemConnectionStateConnected {
		found = append(found, &types.HostNotConnected{})
	}
	standby := target.Runtime.PowerState == types.HostSystemPowerStateStandBy
	if target.Runtime.InMaintenanceMode || m.maintenance.isEntering(target.Self.Value) || standby {
		found = append(found, &types.InvalidHostState{Host: &target.Self})
	}
	if m.inventory.isFailoverHost(target) {
		found = append(found, &types.DisallowedOperationOnFailoverHost{Host: target.Self, Hostname: target.Name})
	}
	return found
}

// generalObstacles lie in what the VM and the hosts are: configuration, versions, processors and devices.
func (m *moves) generalObstacles(plan relocation) (found []types.BaseMethodFault) {
	vm, source, target := plan.vm, plan.source, plan.to.host
	if !target.Summary.Config.VmotionEnabled || !source.Summary.Config.VmotionEnabled {
		found = append(found, &types.VMotionNotConfigured{})
	}
	if threads := int32(target.Summary.Hardware.NumCpuThreads); vm.Config.Hardware.NumCPU > threads {
		found = append(found, &types.NumVirtualCpusExceedsLimit{MaxSupportedVcpus: threads})
	}
	if m.inventory.vmSpec(vm).HardwareVersion > newestHardware(target.Summary.Config.Product.Version) {
		found = append(found, &types.VirtualHardwareVersionNotSupported{HostName: target.Name, Host: target.Self})
	}
	if fault := m.missingFeatures(vm, target); fault != nil {
		found = append(found, fault)
	}
	if fault := m.attachedDevice(vm); fault != nil {
		found = append(found, fault)
	}
	if fault := m.missingProfile(vm, target); fault != nil {
		found = append(found, fault)
	}
	return found
}

// connectivityObstacles are datastores and networks of the VM that the target cannot reach.
func (m *moves) connectivityObstacles(plan relocation) (found []types.BaseMethodFault) {
	target, far := plan.to.host, plan.at(m)
	for _, datastore := range plan.datastores() {
		if !slices.Contains(target.Datastore, datastore) || !far.storage.reaches(target, datastore) {
			found = append(found, &types.CannotAccessVmConfig{
				Reason: types.LocalizedMethodFault{Fault: &types.InvalidDatastore{Datastore: &datastore}},
			})
		}
	}
	for _, card := range cards(plan.vm) {
		if isUnplugged(plan.vm, card) {
			continue
		}
		if network, name := far.inventory.networkAt(plan.to, card); network == nil {
			found = append(found, &types.CannotAccessNetwork{CannotAccessVmDevice: types.CannotAccessVmDevice{
				Device: card.DeviceInfo.GetDescription().Label, Backing: name,
			}})
		}
	}
	return found
}

// capacityObstacles are rules, memory and GPUs.
func (m *moves) capacityObstacles(plan relocation) (found []types.BaseMethodFault) {
	vm, target := plan.vm, plan.to.host
	if plan.cross == nil { // the rules of another vCenter do not know the VM
		if fault := m.violatedRule(vm, target); fault != nil {
			found = append(found, fault)
		}
	}
	if fault := m.overcommitted(plan); fault != nil {
		found = append(found, fault)
	}
	if fault := plan.at(m).inventory.graphics.obstacle(target, m.gpuUser(plan)); fault != nil {
		found = append(found, fault)
	}
	free := target.Hardware.MemorySize - int64(target.Summary.QuickStats.OverallMemoryUsage)<<20
	needed := int64(m.inventory.vmSpec(vm).memoryUsed() * gib)
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn && needed > free {
		found = append(found, &types.InsufficientMemoryResourcesFault{Unreserved: free, Requested: needed})
	}
	return found
}

// missingFeatures is the fault of processor features that the VM uses and the target does not offer.
func (m *moves) missingFeatures(vm *simulator.VirtualMachine, target *simulator.HostSystem) types.BaseMethodFault {
	var missing []types.VirtualMachineFeatureRequirement
	for _, needed := range vm.Runtime.FeatureRequirement {
		if !slices.ContainsFunc(target.Config.FeatureCapability, func(offered types.HostFeatureCapability) bool {
			return offered.Key == needed.Key
		}) {
			missing = append(missing, needed)
		}
	}
	offered := cmp.Or(target.Summary.CurrentEVCModeKey, target.Summary.MaxEVCModeKey)
	if lacksEVC(offered, vm.Runtime.MinRequiredEVCModeKey) {
		missing = append(missing, types.VirtualMachineFeatureRequirement{
			Key: vm.Runtime.MinRequiredEVCModeKey, FeatureName: "EVC " + vm.Runtime.MinRequiredEVCModeKey, Value: "Bool:Min:1",
		})
	}
	if len(missing) == 0 {
		return nil
	}
	return &types.FeatureRequirementsNotMet{FeatureRequirement: missing, Vm: &vm.Self, Host: &target.Self}
}

// datastores are those of the VM after the relocation.
func (r relocation) datastores() []types.ManagedObjectReference {
	left := slices.Collect(maps.Values(r.from))
	found := slices.DeleteFunc(slices.Clone(r.vm.Datastore), func(ref types.ManagedObjectReference) bool {
		return r.cross != nil || slices.Contains(left, ref)
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
	for _, profile := range m.inventory.vmSpec(vm).vgpus() {
		if !slices.Contains(target.Config.SharedPassthruGpuTypes, profile) {
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
