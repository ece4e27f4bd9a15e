package main

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// events makes and posts vCenter's events.
type events struct {
	inventory *inventory
}

// post posts an event; events of one task share its chain.
func (e events) post(ctx *simulator.Context, chain int32, event types.BaseEvent) {
	manager := e.inventory.registry.EventManager()
	ctx.WithLock(manager, func() {
		manager.PostEvent(ctx, &types.PostEvent{This: manager.Self, EventToPost: event})
		event.GetEvent().ChainId = chain
	})
}

func (e events) ofVM(vm *simulator.VirtualMachine, host *simulator.HostSystem) types.VmEvent {
	event := types.VmEvent{Event: e.ofHost(host).Event}
	event.Vm = &types.VmEventArgument{EntityEventArgument: types.EntityEventArgument{Name: vm.Name}, Vm: vm.Self}
	event.Ds = &types.DatastoreEventArgument{
		EntityEventArgument: types.EntityEventArgument{Name: e.inventory.config.Datastores[0].Name},
		Datastore:           e.inventory.cluster.Datastore[0],
	}
	return event
}

func (e events) ofHost(host *simulator.HostSystem) types.HostEvent {
	cluster := e.inventory.cluster
	return types.HostEvent{Event: types.Event{
		Host: hostArgument(host),
		ComputeResource: &types.ComputeResourceEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: cluster.Name}, ComputeResource: cluster.Self,
		},
		Datacenter: &types.DatacenterEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: e.inventory.config.Datacenter},
			Datacenter:          e.inventory.registry.Any("Datacenter").Reference(),
		},
	}}
}

func hostArgument(host *simulator.HostSystem) *types.HostEventArgument {
	return &types.HostEventArgument{EntityEventArgument: types.EntityEventArgument{Name: host.Name}, Host: host.Self}
}

// plainEventTypes removes the prefix of event types in a filter: a vCenter accepts both spellings, the simulator only one.
func plainEventTypes(body any) {
	filtered, ok := body.(*types.CreateCollectorForEvents)
	if !ok {
		return
	}
	for i, id := range filtered.Filter.EventTypeId {
		filtered.Filter.EventTypeId[i] = strings.TrimPrefix(id, "vim.event.")
	}
}
