package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// destination is where a relocation leads. The VM keeps what is nil.
type destination struct {
	host      *simulator.HostSystem
	pool      *simulator.ResourcePool
	folder    *simulator.Folder
	elsewhere bool                                         // in another data centre
	backings  map[int32]types.BaseVirtualDeviceBackingInfo // new networks, by key of the adapter
}

func invalid(property string) types.BaseMethodFault {
	return &types.InvalidArgument{InvalidProperty: property}
}

// destination reads a specification as RelocateVM_Task does, or returns the fault with which the call ends.
func (m *moves) destination(vm *simulator.VirtualMachine, spec types.VirtualMachineRelocateSpec) (*destination, types.BaseMethodFault) {
	to := &destination{backings: backings(spec)}
	if spec.Pool != nil {
		pool, ok := m.inventory.registry.Get(*spec.Pool).(*simulator.ResourcePool)
		if !ok {
			return nil, invalid("spec.pool")
		}
		to.pool = pool
	}
	var fault types.BaseMethodFault
	if to.host, fault = m.targetHost(vm, spec, to.pool); fault != nil {
		return nil, fault
	}
	if owner := m.owner(vm, to.pool); owner != *to.host.Parent {
		return nil, invalid("spec.pool")
	}
	source := m.inventory.host(m.inventory.view(vm).host)
	near, far := m.inventory.datacenterOf(source), m.inventory.datacenterOf(to.host)
	if fault = m.readFolder(to, spec, near != far, far); fault != nil {
		return nil, fault
	}
	to.elsewhere = near != far
	if to.elsewhere {
		if fault = m.checkDatastores(spec, far); fault != nil {
			return nil, fault
		}
	}
	return to, nil
}

// backings are the networks that a specification gives to adapters, by the key of the adapter.
func backings(spec types.VirtualMachineRelocateSpec) map[int32]types.BaseVirtualDeviceBackingInfo {
	found := map[int32]types.BaseVirtualDeviceBackingInfo{}
	for _, change := range spec.DeviceChange {
		device := change.GetVirtualDeviceConfigSpec().Device
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			found[card.GetVirtualEthernetCard().Key] = card.GetVirtualEthernetCard().Backing
		}
	}
	return found
}

// targetHost is the host of the specification, or the one that vCenter chooses: the VM's own host, the standalone host of the
// pool, or a host that DRS chooses.
func (m *moves) targetHost(
	vm *simulator.VirtualMachine, spec types.VirtualMachineRelocateSpec, pool *simulator.ResourcePool,
) (*simulator.HostSystem, types.BaseMethodFault) {
	if spec.Host != nil {
		if host := m.inventory.host(*spec.Host); host != nil {
			return host, nil
		}
		return nil, invalid("spec.host")
	}
	if pool == nil {
		return m.inventory.host(m.inventory.view(vm).host), nil
	}
	if resource, ok := m.inventory.registry.Get(pool.Owner).(*mo.ComputeResource); ok {
		return m.inventory.host(resource.Host[0]), nil
	}
	cluster := m.inventory.cluster(pool.Owner)
	if cluster == nil || !isTrue(m.inventory.clusterConfiguration(cluster).DrsConfig.Enabled) {
		return nil, invalid("spec.pool")
	}
	if host := m.emptiest(vm, cluster); host != nil {
		return host, nil
	}
	return nil, &types.NoCompatibleHost{}
}

// emptiest is the host of a cluster that can take the VM and uses the smallest share of its memory.
func (m *moves) emptiest(vm *simulator.VirtualMachine, cluster *simulator.ClusterComputeResource) *simulator.HostSystem {
	source := m.inventory.host(m.inventory.view(vm).host)
	var best *simulator.HostSystem
	used := func(host *simulator.HostSystem) float64 {
		return float64(host.Summary.QuickStats.OverallMemoryUsage) / float64(host.Hardware.MemorySize)
	}
	for _, host := range m.inventory.hostsOf(cluster) {
		if m.obstacle(relocation{vm: vm, source: source, to: &destination{host: host}}) == nil && (best == nil || used(host) < used(best)) {
			best = host
		}
	}
	return best
}

// owner is the compute resource of a pool, or of the pool that the VM keeps.
func (m *moves) owner(vm *simulator.VirtualMachine, pool *simulator.ResourcePool) types.ManagedObjectReference {
	if pool != nil {
		return pool.Owner
	}
	switch own := m.inventory.registry.Get(*vm.ResourcePool).(type) {
	case *simulator.ResourcePool:
		return own.Owner
	case *simulator.VirtualApp:
		return own.Owner
	}
	return types.ManagedObjectReference{}
}

// readFolder reads the folder. In another data centre, the VM comes into the root folder of VMs if the client names none.
func (m *moves) readFolder(
	to *destination, spec types.VirtualMachineRelocateSpec, elsewhere bool, far *simulator.Datacenter,
) types.BaseMethodFault {
	ref := spec.Folder
	if ref == nil && elsewhere {
		ref = &far.VmFolder
	}
	if ref == nil {
		return nil
	}
	folder, ok := m.inventory.registry.Get(*ref).(*simulator.Folder)
	if !ok || !slices.Contains(folder.ChildType, "VirtualMachine") || m.inventory.datacenterOf(folder) != far {
		return invalid("spec.folder")
	}
	to.folder = folder
	return nil
}

// checkDatastores checks the datastores of a VM that leaves its data centre. They must be named even if its files stay where they
// are, because every data centre has objects of its own for the locations that its hosts reach.
func (m *moves) checkDatastores(spec types.VirtualMachineRelocateSpec, far *simulator.Datacenter) types.BaseMethodFault {
	if spec.Datastore == nil {
		return invalid("spec.datastore")
	}
	named := []types.ManagedObjectReference{*spec.Datastore}
	for _, disk := range spec.Disk {
		named = added(named, disk.Datastore)
	}
	for _, ref := range named {
		datastore, ok := m.inventory.registry.Get(ref).(*simulator.Datastore)
		if !ok || m.inventory.datacenterOf(datastore) != far {
			return invalid("spec.datastore")
		}
	}
	return nil
}

// networkAt is the network that an adapter has at the target: the host's network of the same name, as with standard switches.
// The name is returned even if there is none.
func (i *inventory) networkAt(d *destination, card *types.VirtualEthernetCard) (*mo.Network, string) {
	backing := card.Backing
	if given := d.backings[card.Key]; given != nil {
		backing = given
	}
	standard, ok := backing.(*types.VirtualEthernetCardNetworkBackingInfo)
	if !ok {
		return nil, "a backing that the lab does not know"
	}
	for _, ref := range d.host.Network {
		network, ok := i.registry.Get(ref).(*mo.Network)
		if ok && network.Name == standard.DeviceName {
			return network, network.Name
		}
	}
	return nil, standard.DeviceName
}

// cards are the network adapters of a VM.
func cards(vm *simulator.VirtualMachine) []*types.VirtualEthernetCard {
	var found []*types.VirtualEthernetCard
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			found = append(found, card.GetVirtualEthernetCard())
		}
	}
	return found
}

// isUnplugged reports an adapter of a running VM that is not connected: the target may lack its network.
func isUnplugged(vm *simulator.VirtualMachine, card *types.VirtualEthernetCard) bool {
	on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	return on && card.Connectable != nil && !card.Connectable.Connected
}

// adapter is a VM's adapter in a network.
func adapter(index int, network *mo.Network, connected bool) types.BaseVirtualDevice {
	card := &types.VirtualVmxnet3{}
	card.Key = int32(4000 + index)
	card.DeviceInfo = &types.Description{Label: "Network adapter " + string(rune('1'+index)), Summary: network.Name}
	card.Backing = networkBacking(network)
	card.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, Connected: connected, AllowGuestControl: true}
	card.AddressType = "assigned"
	return card
}

func networkBacking(network *mo.Network) types.BaseVirtualDeviceBackingInfo {
	return &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: network.Name}, Network: &network.Self,
	}
}

// rewired are the VM's devices with the networks of the target, and the networks.
func (i *inventory) rewired(vm *simulator.VirtualMachine, d *destination) ([]types.BaseVirtualDevice, []types.ManagedObjectReference) {
	var networks []types.ManagedObjectReference
	devices := slices.Clone(vm.Config.Hardware.Device)
	for at, device := range devices {
		card, ok := device.(*types.VirtualVmxnet3)
		if !ok {
			continue
		}
		network, _ := i.networkAt(d, &card.VirtualEthernetCard)
		if network == nil {
			continue // it was disconnected, and keeps a network that is not there
		}
		changed := *card
		changed.Backing = networkBacking(network)
		devices[at] = &changed
		networks = added(networks, network.Self)
	}
	return devices, networks
}

// toHost is the specification of a person who moves a VM to a host, wherever it is: into the root pool of another cluster, into
// the folder of the same name in another data centre, and on the datastores of the same name.
func (i *inventory) toHost(vm *simulator.VirtualMachine, host *simulator.HostSystem) types.VirtualMachineRelocateSpec {
	spec := types.VirtualMachineRelocateSpec{Host: &host.Self}
	source := i.host(i.view(vm).host)
	if *source.Parent == *host.Parent {
		return spec
	}
	switch resource := i.registry.Get(*host.Parent).(type) {
	case *simulator.ClusterComputeResource:
		spec.Pool = resource.ResourcePool
	case *mo.ComputeResource:
		spec.Pool = resource.ResourcePool
	}
	if i.datacenterOf(source) == i.datacenterOf(host) {
		return spec
	}
	for _, ref := range host.Datastore {
		far := i.registry.Get(ref).(*simulator.Datastore)
		for _, own := range vm.Datastore {
			if near, ok := i.registry.Get(own).(*simulator.Datastore); ok && near.Summary.Url == far.Summary.Url {
				spec.Datastore = &far.Self
			}
		}
	}
	return spec
}
