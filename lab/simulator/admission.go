package main

import (
	"cmp"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// reservedMHz is the processor that HA counts for a VM without a reservation (das.vmCpuMinMHz). The overhead of memory, which a
// vCenter adds to the reservation, is left out.
const reservedMHz = 32

// resources are what a host has, or what a VM has reserved: MHz and MiB.
type resources struct {
	cpu, memory float64
}

func total(all []resources) (sum resources) {
	for _, each := range all {
		sum.cpu += each.cpu
		sum.memory += each.memory
	}
	return sum
}

// admits reports whether the admission control of HA permits powered-on VMs on hosts. Failover hosts are kept free in another way.
func admits(das types.ClusterDasConfigInfo, hosts, vms []resources) bool {
	if !isTrue(das.Enabled) || !isTrue(das.AdmissionControlEnabled) {
		return true
	}
	switch policy := das.AdmissionControlPolicy.(type) {
	case *types.ClusterFailoverResourcesAdmissionControlPolicy:
		cpu, memory := float64(policy.CpuFailoverResourcesPercent), float64(policy.MemoryFailoverResourcesPercent)
		if isTrue(policy.AutoComputePercentages) {
			cpu = 100 * float64(policy.FailoverLevel) / float64(max(1, len(hosts)))
			memory = cpu
		}
		have, needed := total(hosts), total(vms)
		return free(have.cpu, needed.cpu) >= cpu && free(have.memory, needed.memory) >= memory
	case *types.ClusterFailoverLevelAdmissionControlPolicy:
		return len(hosts) > int(policy.FailoverLevel) && slotsWithout(hosts, vms, int(policy.FailoverLevel)) >= len(vms)
	}
	return true
}

// free is the share that is not needed, in percent.
func free(have, needed float64) float64 {
	if have <= 0 {
		return 0
	}
	return 100 * (have - needed) / have
}

// slotsWithout is how many slots are left if the hosts with the most slots fail. A slot has room for any of the VMs.
func slotsWithout(hosts, vms []resources, failures int) (left int) {
	slot := resources{cpu: reservedMHz}
	for _, vm := range vms {
		slot.cpu, slot.memory = max(slot.cpu, vm.cpu), max(slot.memory, vm.memory)
	}
	slots := make([]int, 0, len(hosts))
	for _, host := range hosts {
		count := int(host.cpu / slot.cpu)
		if slot.memory > 0 {
			count = min(count, int(host.memory/slot.memory))
		}
		slots = append(slots, count)
	}
	slices.SortFunc(slots, func(a, b int) int { return cmp.Compare(b, a) })
	for _, each := range slots[failures:] {
		left += each
	}
	return left
}

// admissible reports whether admission control permits the cluster as it is now, without hosts that are entering maintenance mode or
// that are imagined to be out, and with one more VM if there is one.
func (m *moves) admissible(
	cluster *simulator.ClusterComputeResource, arriving *simulator.VirtualMachine, out map[types.ManagedObjectReference]bool,
) bool {
	var hosts, vms []resources
	here := map[types.ManagedObjectReference]bool{}
	for _, host := range m.inventory.hostsOf(cluster) {
		here[host.Self] = true
		if len(m.stateObstacles(host)) == 0 && !out[host.Self] {
			size := host.Summary.Hardware
			hosts = append(hosts, resources{float64(size.NumCpuCores) * float64(size.CpuMhz), float64(size.MemorySize >> 20)})
		}
	}
	for _, vm := range m.inventory.vms() {
		view := m.inventory.view(vm)
		if vm == arriving || here[view.host] && view.power == types.VirtualMachinePowerStatePoweredOn {
			vms = append(vms, reserved(vm))
		}
	}
	return admits(m.inventory.clusterConfiguration(cluster).DasConfig, hosts, vms)
}

// reserved is what HA counts for a VM.
func reserved(vm *simulator.VirtualMachine) resources {
	found := resources{cpu: reservedMHz}
	if allocation := vm.Config.CpuAllocation; allocation != nil && allocation.Reservation != nil && *allocation.Reservation > 0 {
		found.cpu = float64(*allocation.Reservation)
	}
	if allocation := vm.Config.MemoryAllocation; allocation != nil && allocation.Reservation != nil {
		found.memory = float64(*allocation.Reservation)
	}
	return found
}

// overcommitted is the fault of a powered-on VM for which HA does not keep enough free in the cluster that it comes into.
func (m *moves) overcommitted(plan relocation) types.BaseMethodFault {
	cluster := m.inventory.clusterOf(plan.to.host)
	on := plan.vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	if cluster == nil || !on || *plan.source.Parent == cluster.Self || m.admissible(cluster, plan.vm, nil) {
		return nil
	}
	return &types.InsufficientFailoverResourcesFault{}
}
