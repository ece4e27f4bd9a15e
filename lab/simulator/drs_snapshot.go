package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// snapshot is the cluster as DRS finds it now.
func (d *drs) snapshot(config *types.ClusterConfigInfoEx) *drsCluster {
	cluster := &drsCluster{
		hosts: map[string]*drsHost{}, vms: map[string]*drsVM{}, rules: enabledRules(config),
		tolerance: balanceTolerance(config.DrsConfig.VmotionRate), possible: d.possible,
	}
	for _, host := range d.inventory.hostsOf(d.cluster) {
		cluster.hosts[host.Self.Value] = d.hostNow(host)
	}
	moving := d.moves.moving()
	for _, vm := range d.inventory.vms() {
		view := d.inventory.view(vm)
		if view.power != types.VirtualMachinePowerStatePoweredOn {
			continue
		}
		spec, at := d.inventory.vmSpec(vm), view.host.Value
		target, isMoving := moving[vm.Self.Value]
		if isMoving {
			at = target
		}
		host := cluster.hosts[at]
		if host == nil {
			continue // of another cluster
		}
		cluster.vms[vm.Self.Value] = &drsVM{
			key: vm.Self.Value, host: at, cpu: float64(spec.CPUUsedMHz), memory: spec.memoryUsed(),
			behaviour: drsBehaviour(config, vm.Self), fixed: isMoving || d.immovable(vm),
		}
		host.cpu += float64(spec.CPUUsedMHz)
		host.memory += spec.memoryUsed()
	}
	for _, host := range cluster.hosts {
		host.cpuReported, host.memReported = host.cpu, host.memory
	}
	return cluster
}

// hostNow is a host without its VMs.
func (d *drs) hostNow(host *simulator.HostSystem) *drsHost {
	spec, quarantine := d.inventory.hostSpec(host.Name), host.Runtime.InQuarantineMode
	entering := d.maintenance.isEntering(host.Self.Value)
	return &drsHost{
		key: host.Self.Value, cpu: float64(spec.CPUUsedMHz), memory: spec.MemoryUsedGB,
		cpuSize:           max(1, float64(host.Summary.Hardware.NumCpuCores)*float64(host.Summary.Hardware.CpuMhz)),
		memorySize:        max(1, float64(host.Hardware.MemorySize)/gib),
		entersMaintenance: entering,
		closed: entering || host.Runtime.InMaintenanceMode || isTrue(quarantine) ||
			host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected ||
			d.inventory.isFailoverHost(host),
	}
}

// immovable are VMs that DRS does not move, though a person may move some of them: with a vGPU (unless
// its option for that is set), with another device that is passed through, and with disabled methods.
func (d *drs) immovable(vm *simulator.VirtualMachine) bool {
	devices := d.inventory.vmSpec(vm).Devices
	vgpu := len(d.inventory.vmSpec(vm).vgpus()) > 0 && !d.inventory.clusterSpec(d.cluster).DRSMovesVGPUs
	return vm.Config.Template || vgpu || slices.Contains(devices, "passthrough") ||
		reaches(vm.DisabledMethod, "MigrateVM_Task") || reaches(vm.DisabledMethod, "RelocateVM_Task")
}

func (d *drs) possible(vmKey, hostKey string) bool {
	vm, target := d.inventory.vm(vmReference(vmKey)), d.inventory.host(hostReference(hostKey))
	if vm == nil || target == nil {
		return false
	}
	source := d.inventory.host(d.inventory.view(vm).host)
	return source != nil && source != target && d.moves.obstacle(relocation{vm: vm, source: source, to: &destination{host: target}}) == nil
}

func vmReference(key string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VirtualMachine", Value: key}
}

func hostReference(key string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "HostSystem", Value: key}
}
