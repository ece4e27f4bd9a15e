package main

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
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
	if len(vm.Datastore) > 0 {
		if datastore, ok := e.inventory.registry.Get(vm.Datastore[0]).(*simulator.Datastore); ok {
			event.Ds = &types.DatastoreEventArgument{
				EntityEventArgument: types.EntityEventArgument{Name: datastore.Name}, Datastore: datastore.Self,
			}
		}
	}
	return event
}

func (e events) ofHost(host *simulator.HostSystem) types.HostEvent {
	event := types.HostEvent{Event: types.Event{Host: hostArgument(host)}}
	if resource, ok := e.inventory.registry.Get(*host.Parent).(mo.Entity); ok {
		event.ComputeResource = &types.ComputeResourceEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: resource.Entity().Name}, ComputeResource: resource.Reference(),
		}
	}
	if datacenter := e.inventory.datacenterOf(host); datacenter != nil {
		event.Datacenter = &types.DatacenterEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: datacenter.Name}, Datacenter: datacenter.Self,
		}
	}
	return event
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
