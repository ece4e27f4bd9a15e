package main

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// membership is which hosts and VMs belong to the inventory. What leaves it can be added again, and then has a new MoID.
type membership struct {
	inventory *inventory
	tasks     *tasks
	moves     *moves

	mu    sync.Mutex
	hosts map[string]*simulator.HostSystem     // that were removed, by name
	vms   map[string]*simulator.VirtualMachine // that were unregistered, by the path of their configuration file
}

func newMembership(v *vcenter) *membership {
	return &membership{
		inventory: v.inventory, tasks: v.tasks, moves: v.moves,
		hosts: map[string]*simulator.HostSystem{}, vms: map[string]*simulator.VirtualMachine{},
	}
}

// DestroyTask removes a host. It must be disconnected or in maintenance mode; VMs that it still has are unregistered.
func (o *overrides) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	m := o.vcenter.membership
	host := m.inventory.host(req.This)
	work := m.tasks.begin(ctx.Session.UserName, host, "Destroy_Task", "destroy")
	task := work.runAtOnce(func() types.BaseMethodFault { return m.removeHost(host) })
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

// AddHostTask adds a host that was removed from a cluster.
func (o *overrides) AddHostTask(ctx *simulator.Context, req *types.AddHost_Task) soap.HasFault {
	m, body := o.vcenter.membership, &methods.AddHost_TaskBody{}
	cluster, ok := m.inventory.registry.Get(req.This).(*simulator.ClusterComputeResource)
	if !ok {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})
		return body
	}
	work := m.tasks.begin(ctx.Session.UserName, cluster, "AddHost_Task", "addHost")
	task := work.runAtOnce(func() types.BaseMethodFault { return m.addHost(cluster, req.Spec.HostName, req.AsConnected) })
	body.Res = &types.AddHost_TaskResponse{Returnval: task}
	return body
}

// UnregisterVM removes a VM from the inventory; its files stay.
func (o *overrides) UnregisterVM(_ *simulator.Context, req *types.UnregisterVM) soap.HasFault {
	m, body := o.vcenter.membership, &methods.UnregisterVMBody{}
	vm := m.inventory.vm(req.This)
	if vm == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})
		return body
	}
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		body.Fault_ = simulator.Fault("", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: vm.Runtime.PowerState,
		})
		return body
	}
	m.unregister(vm)
	body.Res = &types.UnregisterVMResponse{}
	return body
}

// RegisterVMTask adds a VM whose files are on a datastore. It keeps its UUIDs, and loses its custom attributes.
func (o *overrides) RegisterVMTask(ctx *simulator.Context, req *types.RegisterVM_Task) soap.HasFault {
	m, body := o.vcenter.membership, &methods.RegisterVM_TaskBody{}
	folder, ok := m.inventory.registry.Get(req.This).(*simulator.Folder)
	if !ok {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})
		return body
	}
	work := m.tasks.begin(ctx.Session.UserName, folder, "RegisterVM_Task", "registerVm")
	task := work.runAtOnce(func() types.BaseMethodFault { return m.register(folder, req) })
	body.Res = &types.RegisterVM_TaskResponse{Returnval: task}
	return body
}

func (m *membership) removeHost(host *simulator.HostSystem) types.BaseMethodFault {
	if !host.Runtime.InMaintenanceMode && host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected {
		return &types.InvalidState{}
	}
	for _, vm := range m.inventory.vms() {
		if m.inventory.view(vm).host == host.Self {
			m.unregister(vm)
		}
	}
	ctx, registry := m.inventory.as(""), m.inventory.registry
	if cluster, ok := registry.Get(*host.Parent).(*simulator.ClusterComputeResource); ok {
		ctx.WithLock(cluster, func() { registry.RemoveReference(ctx, cluster, &cluster.Host, host.Self) })
	}
	m.relink(host, nil)
	registry.Remove(ctx, host.Self)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hosts[host.Name] = host
	return nil
}

func (m *membership) addHost(cluster *simulator.ClusterComputeResource, name string, connected bool) types.BaseMethodFault {
	if present := m.inventory.findHost(name); present != nil {
		return &types.AlreadyConnected{Name: name}
	}
	m.mu.Lock()
	host := m.hosts[name]
	delete(m.hosts, name)
	m.mu.Unlock()
	if host == nil {
		return &types.NoHost{Name: name}
	}
	ctx, registry, old := m.inventory.as(""), m.inventory.registry, host.Self
	registry.NewEntity(host)
	state := types.HostSystemConnectionStateDisconnected
	if connected {
		state = types.HostSystemConnectionStateConnected
	}
	host.Runtime.InMaintenanceMode, host.Runtime.ConnectionState = false, state
	runtime := host.Runtime
	host.Summary.Runtime, host.Summary.Host = &runtime, &host.Self
	host.RecentTask = nil
	registry.PutEntity(cluster, host)
	m.relink(host, &old)
	ctx.WithLock(cluster, func() { registry.AppendReference(ctx, cluster, &cluster.Host, host.Self) })
	m.inventory.refreshLoad()
	return nil
}

// relink changes which host the datastores and networks of a host name: it instead of an old MoID, or nobody.
func (m *membership) relink(host *simulator.HostSystem, old *types.ManagedObjectReference) {
	ctx, registry := m.inventory.as(""), m.inventory.registry
	for _, ref := range host.Datastore {
		datastore, ok := registry.Get(ref).(*simulator.Datastore)
		if !ok {
			continue
		}
		ctx.WithLock(datastore, func() {
			var mounts []types.DatastoreHostMount
			for _, mount := range datastore.Host {
				if old != nil && mount.Key == *old {
					mount.Key = host.Self
				}
				mounts = append(mounts, mount)
			}
			ctx.Update(datastore, []types.PropertyChange{{Name: "host", Val: mounts}})
		})
	}
	for _, ref := range host.Network {
		network, ok := registry.Get(ref).(*mo.Network)
		if !ok {
			continue
		}
		ctx.WithLock(network, func() {
			if old == nil {
				registry.RemoveReference(ctx, network, &network.Host, host.Self)
			} else {
				registry.AppendReference(ctx, network, &network.Host, host.Self)
			}
		})
	}
}

func (m *membership) unregister(vm *simulator.VirtualMachine) {
	m.mu.Lock()
	m.vms[vm.Config.Files.VmPathName] = vm
	m.mu.Unlock()
	m.inventory.remove(m.inventory.as(""), vm)
}

func (m *membership) register(folder *simulator.Folder, req *types.RegisterVM_Task) types.BaseMethodFault {
	host := (*simulator.HostSystem)(nil)
	if req.Host != nil {
		host = m.inventory.host(*req.Host)
	}
	if host == nil || req.Pool == nil {
		return &types.InvalidArgument{InvalidProperty: "host"}
	}
	m.mu.Lock()
	vm := m.vms[req.Path]
	delete(m.vms, req.Path)
	m.mu.Unlock()
	if vm == nil {
		return &types.NotFound{}
	}
	m.inventory.readd(vm, m.inventory.vmSpec(vm), folder, host, *req.Pool, req.Name)
	return nil
}
