package main

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// maxRating is of the host that DRS likes best.
const maxRating = 5

// candidate is a host of the cluster to which vCenter would move a VM, with its load after the move (0 to 1).
type candidate struct {
	host *simulator.HostSystem
	load float64
}

// candidates are the hosts that can take a VM, the emptiest first, and the first fault of each other one. The VM comes into a pool of
// the cluster if it is not in the cluster yet.
func (d *drs) candidates(
	vm *simulator.VirtualMachine, pool *types.ManagedObjectReference, only []types.ManagedObjectReference,
) (found []candidate, faults []types.LocalizedMethodFault) {
	config := d.inventory.clusterConfiguration(d.cluster)
	hosts, spec := d.snapshot(config).hosts, d.inventory.vmSpec(vm)
	for _, host := range d.inventory.hostsOf(d.cluster) {
		if len(only) > 0 && !slices.Contains(only, host.Self) {
			continue
		}
		fault := d.closedTo(vm, host, pool)
		if fault != nil {
			faults = append(faults, d.inventory.config.localized(fault))
			continue
		}
		found = append(found, candidate{host, hosts[host.Self.Value].load(float64(spec.CPUUsedMHz), spec.memoryUsed())})
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.load, b.load), cmp.Compare(a.host.Name, b.host.Name))
	})
	return found, faults
}

// closedTo is why DRS does not propose a host for a VM; nil if it does.
func (d *drs) closedTo(
	vm *simulator.VirtualMachine, host *simulator.HostSystem, pool *types.ManagedObjectReference,
) types.BaseMethodFault {
	plan, fault := d.moves.relocation(vm.Self, types.VirtualMachineRelocateSpec{Host: &host.Self, Pool: pool})
	if fault != nil {
		return fault
	}
	if fault := d.moves.obstacle(plan); fault != nil {
		return fault
	}
	if d.hostNow(host).closed {
		return &types.InvalidHostState{Host: &host.Self}
	}
	return nil
}

// faultsOf are the reasons why DRS proposes nothing for a VM.
func faultsOf(reason string, vm *types.ManagedObjectReference, faults []types.LocalizedMethodFault) *types.ClusterDrsFaults {
	return &types.ClusterDrsFaults{
		Reason:     reason,
		FaultsByVm: []types.BaseClusterDrsFaultsFaultsByVm{&types.ClusterDrsFaultsFaultsByVm{Vm: vm, Fault: faults}},
	}
}

// RecommendHostsForVm rates the hosts of the cluster for a VM. A powered-on VM must come from another cluster into the given pool.
func (o *overrides) RecommendHostsForVm(_ *simulator.Context, req *types.RecommendHostsForVm) soap.HasFault {
	body := &methods.RecommendHostsForVmBody{}
	drs, vm := o.vcenter.drs[req.This.Value], o.vcenter.inventory.vm(req.Vm)
	if drs == nil || vm == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.Vm})
		return body
	}
	on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	inside := o.vcenter.inventory.isIn(vm.Self, drs.cluster)
	if on && (req.Pool == nil || inside) {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "pool"})
		return body
	}
	body.Res = &types.RecommendHostsForVmResponse{}
	found, _ := drs.candidates(vm, req.Pool, nil)
	for at, each := range found {
		body.Res.Returnval = append(body.Res.Returnval, types.ClusterHostRecommendation{
			Host: each.host.Self, Rating: int32(max(1, maxRating-at)),
		})
	}
	return body
}

// PlaceVm proposes a host for a VM that moves; the lab leaves VMs that are made or cloned to the simulator.
func (o *overrides) PlaceVm(_ *simulator.Context, req *types.PlaceVm) soap.HasFault {
	body := &methods.PlaceVmBody{}
	spec := req.PlacementSpec
	drs := o.vcenter.drs[req.This.Value]
	if spec.Vm == nil || spec.RelocateSpec == nil || drs == nil {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "placementSpec"})
		return body
	}
	vm := o.vcenter.inventory.vm(*spec.Vm)
	if vm == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: *spec.Vm})
		return body
	}
	pool := spec.RelocateSpec.Pool
	if pool == nil && !o.vcenter.inventory.isIn(vm.Self, drs.cluster) {
		pool = drs.cluster.ResourcePool
	}
	result := types.PlacementResult{}
	found, faults := drs.candidates(vm, pool, spec.Hosts)
	if len(found) == 0 {
		result.DrsFault = faultsOf("placement", &vm.Self, faults)
	} else {
		best := found[0].host
		proposed := *spec.RelocateSpec
		proposed.Host, proposed.Pool = &best.Self, pool
		result.Recommendations = []types.ClusterRecommendation{{
			Key: "1", Type: string(types.RecommendationTypeV1), Time: time.Now(), Rating: maxRating, Target: &drs.cluster.Self,
			Reason: string(types.RecommendationReasonCodeXvmotionPlacement), ReasonText: "Place a virtual machine that moves",
			Action: []types.BaseClusterAction{&types.PlacementAction{
				ClusterAction: types.ClusterAction{Type: string(types.ActionTypePlacementV1), Target: &vm.Self},
				Vm:            &vm.Self, TargetHost: &best.Self, RelocateSpec: &proposed,
			}},
		}}
	}
	body.Res = &types.PlaceVmResponse{Returnval: result}
	return body
}

// ClusterEnterMaintenanceMode says which of some hosts DRS could empty, and with which moves. It changes nothing.
func (o *overrides) ClusterEnterMaintenanceMode(_ *simulator.Context, req *types.ClusterEnterMaintenanceMode) soap.HasFault {
	body := &methods.ClusterEnterMaintenanceModeBody{}
	drs := o.vcenter.drs[req.This.Value]
	if drs == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})
		return body
	}
	for _, ref := range req.Host {
		if host := o.vcenter.inventory.host(ref); host == nil || *host.Parent != drs.cluster.Self {
			body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "host"})
			return body
		}
	}
	body.Res = &types.ClusterEnterMaintenanceModeResponse{Returnval: drs.emptiable(req.Host)}
	return body
}

// emptiable imagines that hosts enter maintenance mode one after the other. Once one cannot be emptied, its faults are the answer,
// besides the hosts before it.
func (d *drs) emptiable(hosts []types.ManagedObjectReference) (result types.ClusterEnterMaintenanceResult) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cluster := d.snapshot(d.inventory.clusterConfiguration(d.cluster))
	out := map[types.ManagedObjectReference]bool{}
	for at, ref := range hosts {
		out[ref] = true
		now := cluster.hosts[ref.Value]
		now.closed, now.entersMaintenance = true, true
		before := len(cluster.moves)
		if !d.moves.admissible(d.cluster, nil, out) {
			fault := d.inventory.config.localized(&types.InsufficientFailoverResourcesFault{})
			result.Fault = faultsOf(string(types.RecommendationReasonCodeHostMaint), nil, []types.LocalizedMethodFault{fault})
			return result
		}
		if stuck := cluster.evacuate(ref.Value); len(stuck) > 0 {
			vm := vmReference(stuck[0])
			fault := d.inventory.config.localized(&types.NoCompatibleHost{})
			result.Fault = faultsOf(string(types.RecommendationReasonCodeHostMaint), &vm, []types.LocalizedMethodFault{fault})
			return result
		}
		actions := []types.BaseClusterAction{&types.ClusterAction{Type: string(types.ActionTypeHostMaintenanceV1), Target: &ref}}
		for _, move := range cluster.moves[before:] {
			actions = append(actions, migrationOf(cluster, move, strconv.Itoa(at+1), time.Now()))
		}
		result.Recommendations = append(result.Recommendations, types.ClusterRecommendation{
			Key: strconv.Itoa(at + 1), Type: string(types.RecommendationTypeV1), Time: time.Now(), Rating: maxRating,
			Reason: string(types.RecommendationReasonCodeHostMaint), ReasonText: reasonTexts[types.RecommendationReasonCodeHostMaint],
			Target: &ref, Action: actions,
		})
	}
	return result
}
