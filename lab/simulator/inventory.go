package main

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// inventory finds the managed objects, and keeps all lists consistent that say which VM is where.
type inventory struct {
	config   *Config
	root     context.Context
	registry *simulator.Registry

	// Written only while the inventory is built.
	clusters     []*simulator.ClusterComputeResource
	clusterSpecs map[string]*Cluster // by MoID of the cluster

	specsLock sync.Mutex
	specs     map[string]*VM // by VM MoID

	graphics *graphics

	load sync.Mutex // held while the load of the hosts is counted: an older count must not overwrite a newer one
}

// as returns a context for work on behalf of a user.
func (i *inventory) as(user string) *simulator.Context {
	return &simulator.Context{
		Context: i.root,
		Map:     i.registry,
		Session: &simulator.Session{UserSession: types.UserSession{UserName: user}, Registry: simulator.NewRegistry()},
	}
}

func all[T mo.Reference](i *inventory, kind string) []T {
	var found []T
	for _, entity := range i.registry.All(kind) {
		if typed, ok := entity.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

func (i *inventory) vms() []*simulator.VirtualMachine {
	return all[*simulator.VirtualMachine](i, "VirtualMachine")
}

func (i *inventory) hosts() []*simulator.HostSystem {
	return all[*simulator.HostSystem](i, "HostSystem")
}

// host is nil when there is no such host.
func (i *inventory) host(ref types.ManagedObjectReference) *simulator.HostSystem {
	host, _ := i.registry.Get(ref).(*simulator.HostSystem)
	return host
}

// vm is nil when there is no such VM.
func (i *inventory) vm(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := i.registry.Get(ref).(*simulator.VirtualMachine)
	return vm
}

// hostSpec is the host's entry in the topology; empty for a host that was added later.
func (i *inventory) hostSpec(name string) *Host {
	for index := range i.config.Hosts {
		if i.config.Hosts[index].Name == name {
			return &i.config.Hosts[index]
		}
	}
	return &Host{}
}

// vmSpec is the VM's entry in the topology; for a VM that was created later, only its size.
func (i *inventory) vmSpec(vm *simulator.VirtualMachine) *VM {
	i.specsLock.Lock()
	spec := i.specs[vm.Self.Value]
	i.specsLock.Unlock()
	if spec != nil {
		return spec
	}
	return &VM{Name: vm.Name, MemoryGB: float64(vm.Summary.Config.MemorySizeMB) / 1024}
}

// vmView is a VM at one moment.
type vmView struct {
	name   string
	host   types.ManagedObjectReference
	folder types.ManagedObjectReference
	pool   types.ManagedObjectReference
	power  types.VirtualMachinePowerState

	connection types.VirtualMachineConnectionState
}

// clusterConfiguration is the configuration of a cluster now. Nobody changes what it points to.
func (i *inventory) clusterConfiguration(cluster *simulator.ClusterComputeResource) *types.ClusterConfigInfoEx {
	var config *types.ClusterConfigInfoEx
	i.as("").WithLock(cluster, func() { config = cluster.ConfigurationEx.(*types.ClusterConfigInfoEx) })
	return config
}

// cluster is nil when the reference is not one of a cluster.
func (i *inventory) cluster(ref types.ManagedObjectReference) *simulator.ClusterComputeResource {
	cluster, _ := i.registry.Get(ref).(*simulator.ClusterComputeResource)
	return cluster
}

// clusterOf is the cluster of a host; nil for a standalone host.
func (i *inventory) clusterOf(host *simulator.HostSystem) *simulator.ClusterComputeResource {
	return i.cluster(*host.Parent)
}

// clusterSpec is the cluster's entry in the topology; empty for a cluster that was added later, and for none.
func (i *inventory) clusterSpec(cluster *simulator.ClusterComputeResource) *Cluster {
	if cluster != nil {
		if spec := i.clusterSpecs[cluster.Self.Value]; spec != nil {
			return spec
		}
	}
	return &Cluster{}
}

// isFailoverHost reports whether HA keeps the host free for a failure.
func (i *inventory) isFailoverHost(host *simulator.HostSystem) bool {
	return slices.Contains(i.clusterSpec(i.clusterOf(host)).FailoverHosts, host.Name)
}

// isIn reports whether a VM lives on a host of the cluster.
func (i *inventory) isIn(ref types.ManagedObjectReference, cluster *simulator.ClusterComputeResource) bool {
	vm := i.vm(ref)
	if vm == nil {
		return false
	}
	host := i.host(i.view(vm).host)
	return host != nil && *host.Parent == cluster.Self
}

// hostsOf are the hosts of a cluster.
func (i *inventory) hostsOf(cluster *simulator.ClusterComputeResource) []*simulator.HostSystem {
	return slices.DeleteFunc(i.hosts(), func(host *simulator.HostSystem) bool { return *host.Parent != cluster.Self })
}

// datacenterOf is the data centre above an object.
func (i *inventory) datacenterOf(entity mo.Entity) *simulator.Datacenter {
	for {
		if datacenter, ok := entity.(*simulator.Datacenter); ok {
			return datacenter
		}
		parent := entity.Entity().Parent
		if parent == nil {
			return nil
		}
		above, ok := i.registry.Get(*parent).(mo.Entity)
		if !ok {
			return nil
		}
		entity = above
	}
}

// view reads a VM under its lock: its name may be changed at any time.
func (i *inventory) view(vm *simulator.VirtualMachine) vmView {
	var view vmView
	i.as("").WithLock(vm, func() {
		view = vmView{name: unescaped(vm.Name), power: vm.Runtime.PowerState, connection: vm.Runtime.ConnectionState}
		if vm.Runtime.Host != nil {
			view.host = *vm.Runtime.Host
		}
		if vm.Parent != nil && vm.ResourcePool != nil {
			view.folder, view.pool = *vm.Parent, *vm.ResourcePool
		}
	})
	return view
}

// withUUID finds a VM by its instance UUID or its BIOS UUID; nil if there is none.
func (i *inventory) withUUID(uuid string, instance bool) *simulator.VirtualMachine {
	for _, vm := range i.vms() {
		var own string
		i.as("").WithLock(vm, func() {
			if own = vm.Config.Uuid; instance {
				own = vm.Config.InstanceUuid
			}
		})
		if strings.EqualFold(own, uuid) {
			return vm
		}
	}
	return nil
}

// nameOf is the name of an object; "" if there is none.
func (i *inventory) nameOf(ref types.ManagedObjectReference) string {
	if entity, ok := i.registry.Get(ref).(mo.Entity); ok {
		return entity.Entity().Name
	}
	return ""
}

// findVM finds a VM by name or MoID; nil when there is none.
func (i *inventory) findVM(name string) *simulator.VirtualMachine {
	for _, vm := range i.vms() {
		if vm.Self.Value == name || i.view(vm).name == unescaped(name) {
			return vm
		}
	}
	return nil
}

// findHost finds a host by name or MoID; nil when there is none.
func (i *inventory) findHost(name string) *simulator.HostSystem {
	for _, host := range i.hosts() {
		if host.Name == name || host.Self.Value == name {
			return host
		}
	}
	return nil
}

// find finds a VM, host, cluster or datastore by name or MoID; nil when there is none.
func (i *inventory) find(name string) mo.Reference {
	if vm := i.findVM(name); vm != nil {
		return vm
	}
	if host := i.findHost(name); host != nil {
		return host
	}
	for _, kind := range []string{"ClusterComputeResource", "Datastore"} {
		for _, entity := range i.registry.All(kind) {
			if named, ok := entity.(mo.Entity); ok && (named.Entity().Name == name || entity.Reference().Value == name) {
				return entity
			}
		}
	}
	return nil
}

// hasPoweredOnVMs reports whether a powered-on VM lives on the host.
func (i *inventory) hasPoweredOnVMs(host *simulator.HostSystem) bool {
	for _, vm := range i.vms() {
		if *vm.Runtime.Host == host.Self && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			return true
		}
	}
	return false
}

// place changes where a VM lives, in every list that names the VM or its host.
func (i *inventory) place(ctx *simulator.Context, vm *simulator.VirtualMachine, source *simulator.HostSystem, to *destination) {
	if i.vm(vm.Self) == nil {
		return // deleted meanwhile: no host may list it again
	}
	target := to.host
	changes := []types.PropertyChange{
		{Name: "runtime.host", Val: &target.Self}, {Name: "summary.runtime.host", Val: &target.Self},
	}
	if to.pool != nil {
		i.leave(ctx, *vm.ResourcePool, vm.Self)
		changes = append(changes, types.PropertyChange{Name: "resourcePool", Val: &to.pool.Self})
		ctx.WithLock(to.pool, func() { i.registry.AppendReference(ctx, to.pool, &to.pool.Vm, vm.Self) })
	}
	if to.folder != nil {
		i.leave(ctx, *vm.Parent, vm.Self)
		changes = append(changes, types.PropertyChange{Name: "parent", Val: &to.folder.Self})
		ctx.WithLock(to.folder, func() { i.registry.AppendReference(ctx, to.folder, &to.folder.ChildEntity, vm.Self) })
	}
	if to.elsewhere || len(to.backings) > 0 {
		changes = append(changes, i.replug(ctx, vm, to)...)
	}
	ctx.WithLock(vm, func() { ctx.Update(vm, changes) })
	ctx.WithLock(source, func() { i.registry.RemoveReference(ctx, source, &source.Vm, vm.Self) })
	ctx.WithLock(target, func() { i.registry.AppendReference(ctx, target, &target.Vm, vm.Self) })
	i.refreshLoad()
}

// replug moves a VM to other network objects; it returns the changes of its properties.
func (i *inventory) replug(ctx *simulator.Context, vm *simulator.VirtualMachine, to *destination) []types.PropertyChange {
	devices, networks := i.rewired(vm, to)
	for _, ref := range slices.Clone(vm.Network) {
		i.leave(ctx, ref, vm.Self)
	}
	for _, ref := range networks {
		if entity, ok := i.registry.Get(ref).(*mo.Network); ok {
			ctx.WithLock(entity, func() { i.registry.AppendReference(ctx, entity, &entity.Vm, vm.Self) })
		}
	}
	return []types.PropertyChange{{Name: "network", Val: networks}, {Name: "config.hardware.device", Val: devices}}
}

// leave removes a VM from the list of a pool, folder, datastore or network.
func (i *inventory) leave(ctx *simulator.Context, ref, vm types.ManagedObjectReference) {
	switch entity := i.registry.Get(ref).(type) {
	case *simulator.ResourcePool:
		ctx.WithLock(entity, func() { i.registry.RemoveReference(ctx, entity, &entity.Vm, vm) })
	case *simulator.Folder:
		ctx.WithLock(entity, func() { i.registry.RemoveReference(ctx, entity, &entity.ChildEntity, vm) })
	case *simulator.Datastore:
		ctx.WithLock(entity, func() { i.registry.RemoveReference(ctx, entity, &entity.Vm, vm) })
	case *mo.Network:
		ctx.WithLock(entity, func() { i.registry.RemoveReference(ctx, entity, &entity.Vm, vm) })
	}
}

// enter adds a VM to the list of a datastore or network.
func (i *inventory) enter(ctx *simulator.Context, ref, vm types.ManagedObjectReference) {
	switch entity := i.registry.Get(ref).(type) {
	case *simulator.Datastore:
		ctx.WithLock(entity, func() { i.registry.AppendReference(ctx, entity, &entity.Vm, vm) })
	case *mo.Network:
		ctx.WithLock(entity, func() { i.registry.AppendReference(ctx, entity, &entity.Vm, vm) })
	}
}

// fieldsOfVMs are the custom attributes that a VM can have.
func (i *inventory) fieldsOfVMs() []types.CustomFieldDef {
	manager := i.registry.CustomFieldsManager()
	var found []types.CustomFieldDef
	i.as("").WithLock(manager, func() {
		for _, field := range manager.Field {
			if field.ManagedObjectType == "" || field.ManagedObjectType == "VirtualMachine" {
				found = append(found, field)
			}
		}
	})
	return found
}

// browserOf is the environment browser of the compute resource of a host; nil if it has none.
func (i *inventory) browserOf(host *simulator.HostSystem) *types.ManagedObjectReference {
	if cluster := i.clusterOf(host); cluster != nil {
		return cluster.EnvironmentBrowser
	}
	if resource, ok := i.registry.Get(*host.Parent).(*mo.ComputeResource); ok {
		return resource.EnvironmentBrowser
	}
	return nil
}

// remove deletes a VM from every list that names it.
func (i *inventory) remove(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	if host := i.host(*vm.Runtime.Host); host != nil {
		i.registry.RemoveReference(ctx, host, &host.Vm, vm.Self)
	}
	if folder, ok := i.registry.Get(*vm.Parent).(*simulator.Folder); ok {
		i.registry.RemoveReference(ctx, folder, &folder.ChildEntity, vm.Self)
	}
	if pool, ok := i.registry.Get(*vm.ResourcePool).(*simulator.ResourcePool); ok {
		i.registry.RemoveReference(ctx, pool, &pool.Vm, vm.Self)
	}
	i.registry.Remove(ctx, vm.Self)
	i.refreshLoad()
}

// readd puts a VM that was removed into the inventory, with a new MoID and without custom attributes.
func (i *inventory) readd(
	vm *simulator.VirtualMachine, spec *VM, folder *simulator.Folder, host *simulator.HostSystem,
	pool types.ManagedObjectReference, name string,
) {
	ctx, old := i.as(""), vm.Self
	for vm.Self == old { // another vCenter may have given the VM the MoID that is next here
		i.registry.NewEntity(vm)
	}
	i.specsLock.Lock()
	i.specs[vm.Self.Value] = spec
	i.specsLock.Unlock()
	if name != "" {
		vm.Name = escaped(name)
	}
	vm.Summary.Vm, vm.ResourcePool, vm.CustomValue, vm.Value, vm.RecentTask = &vm.Self, &pool, nil, nil, nil
	vm.Runtime.Host, vm.Summary.Runtime.Host = &host.Self, &host.Self
	i.registry.PutEntity(folder, vm)
	ctx.WithLock(folder, func() { i.registry.AppendReference(ctx, folder, &folder.ChildEntity, vm.Self) })
	ctx.WithLock(host, func() { i.registry.AppendReference(ctx, host, &host.Vm, vm.Self) })
	if above, ok := i.registry.Get(pool).(*simulator.ResourcePool); ok {
		ctx.WithLock(above, func() { i.registry.AppendReference(ctx, above, &above.Vm, vm.Self) })
	}
	i.refreshLoad()
}

// refreshLoad sets the quickStats of the hosts to the load of the VMs that live on them, and what the hosts say about their GPUs.
// It returns the VMs that do not fit on GPUs.
func (i *inventory) refreshLoad() []string {
	i.load.Lock()
	defer i.load.Unlock()
	memory, cpu := map[string]float64{}, map[string]int{}
	for _, vm := range i.vms() {
		if vm.Runtime.Host != nil && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			spec := i.vmSpec(vm)
			memory[vm.Runtime.Host.Value] += spec.memoryUsed()
			cpu[vm.Runtime.Host.Value] += spec.CPUUsedMHz
		}
	}
	for _, host := range i.hosts() {
		spec := i.hostSpec(host.Name)
		quick := &host.Summary.QuickStats
		quick.OverallMemoryUsage = int32((spec.MemoryUsedGB + memory[host.Self.Value]) * 1024)
		quick.OverallCpuUsage = int32(spec.CPUUsedMHz + cpu[host.Self.Value])
	}
	return i.graphics.refresh()
}

func (i *inventory) content() *types.ServiceContent {
	instance := i.registry.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"})
	return &instance.(*simulator.ServiceInstance).Content
}

func (i *inventory) rootFolder() types.ManagedObjectReference { return i.content().RootFolder }
