package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// RecommendDatastores says to which datastore of a datastore cluster Storage DRS would move all parts of a VM: of those that can take
// them, the one with the lowest latency. The lab leaves VMs that are made or cloned to the simulator.
func (o *overrides) RecommendDatastores(_ *simulator.Context, req *types.RecommendDatastores) soap.HasFault {
	body := &methods.RecommendDatastoresBody{}
	spec, inventory := req.StorageSpec, o.vcenter.inventory
	pod := o.vcenter.storage.pod(spec.PodSelectionSpec.StoragePod)
	if spec.Vm == nil || pod == nil || !pod.PodStorageDrsEntry.StorageDrsConfig.PodConfig.Enabled {
		body.Fault_ = simulator.Fault("", invalid("storageSpec.podSelectionSpec.storagePod"))
		return body
	}
	vm := inventory.vm(*spec.Vm)
	if vm == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: *spec.Vm})
		return body
	}
	host := inventory.host(inventory.view(vm).host)
	if spec.Host != nil {
		host = inventory.host(*spec.Host)
	}
	body.Res = &types.RecommendDatastoresResponse{}
	best, fault := o.vcenter.storage.bestIn(pod, vm, host)
	if best == nil {
		body.Res.Returnval.DrsFault = faultsOf("storagePlacement", spec.Vm, []types.LocalizedMethodFault{o.vcenter.config.localized(fault)})
		return body
	}
	body.Res.Returnval.Recommendations = []types.ClusterRecommendation{{
		Key: "1", Type: "V1", Time: time.Now(), Rating: 1, Reason: "storagePlacement",
		ReasonText: "Satisfy storage initial placement requests", Target: &pod.Self,
		Action: []types.BaseClusterAction{&types.StoragePlacementAction{
			ClusterAction: types.ClusterAction{Type: "StoragePlacementV1"}, Vm: spec.Vm, Destination: best.Self,
			RelocateSpec: types.VirtualMachineRelocateSpec{Datastore: &best.Self},
		}},
	}}
	return body
}

// pod is a datastore cluster; nil if there is none.
func (s *storage) pod(ref *types.ManagedObjectReference) *simulator.StoragePod {
	if ref == nil {
		return nil
	}
	pod, _ := s.inventory.registry.Get(*ref).(*simulator.StoragePod)
	return pod
}

// bestIn is the datastore of a datastore cluster that Storage DRS recommends for all parts of a VM on a host, or why there is none.
func (s *storage) bestIn(
	pod *simulator.StoragePod, vm *simulator.VirtualMachine, host *simulator.HostSystem,
) (*simulator.Datastore, types.BaseMethodFault) {
	var fitting []*simulator.Datastore
	var fault types.BaseMethodFault = &types.InsufficientStorageSpace{}
	for _, ref := range pod.ChildEntity {
		arriving := map[types.ManagedObjectReference]int64{ref: 0}
		for part, now := range s.layout(vm) {
			if now != ref {
				arriving[ref] += s.size(vm, part)
			}
		}
		if found := s.obstacle(host, arriving); found != nil {
			fault = found
			continue
		}
		fitting = append(fitting, s.datastore(ref))
	}
	slices.SortFunc(fitting, func(a, b *simulator.Datastore) int {
		return cmp.Or(
			cmp.Compare(s.latency(a), s.latency(b)), cmp.Compare(b.Summary.FreeSpace, a.Summary.FreeSpace), cmp.Compare(a.Name, b.Name),
		)
	})
	if len(fitting) == 0 {
		return nil, fault
	}
	return fitting[0], nil
}

// latency of a datastore as the topology states it, in milliseconds.
func (s *storage) latency(datastore *simulator.Datastore) float64 {
	for _, spec := range s.inventory.config.Datastores {
		if spec.Name == datastore.Name {
			return spec.LatencyMS
		}
	}
	return 0
}
