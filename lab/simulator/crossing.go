package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// stunRoundTrips is how many round trips over the WAN make the freeze longer; the lab's own figure.
const stunRoundTrips = 4

// crossing is the part of a relocation that leads to another vCenter.
type crossing struct {
	there   *vcenter
	user    string                    // who logs in there
	arrived *simulator.VirtualMachine // nil until the VM is there
}

// at are the moves of the vCenter that a relocation leads to.
func (r relocation) at(here *moves) *moves {
	if r.cross != nil {
		return r.cross.there.moves
	}
	return here
}

// gpuUser is the VM for the cards of the host that a relocation leads to.
func (m *moves) gpuUser(plan relocation) gpuUser {
	user := m.inventory.graphics.own(plan.vm)
	if plan.cross != nil {
		user.key = plan.vm.Config.InstanceUuid
	}
	return user
}

// storage is that of the vCenter that a relocation leads to.
func (r relocation) storage(here *storage) *storage {
	if r.cross != nil {
		return r.cross.there.storage
	}
	return here
}

// line is what the relocation copies over.
func (m *moves) line(plan relocation) line {
	far := plan.at(m)
	return line{
		ends: []linkEnd{{m.links, plan.source.Name}, {far.links, plan.to.host.Name}},
		wans: wans(m.vcenter, far.vcenter),
	}
}

// startAcross begins a relocation to another vCenter. What that vCenter has to say comes in the task.
func (m *moves) startAcross(
	by starter, vmRef types.ManagedObjectReference, spec types.VirtualMachineRelocateSpec,
) (types.ManagedObjectReference, types.BaseMethodFault) {
	vm, fault := m.leaving(vmRef, spec)
	if fault != nil {
		return vmRef, fault
	}
	target := ""
	if there := m.vcenter.peers.withInstance(spec.Service.InstanceUuid); there != nil {
		target = there.config.VCenter.Name
	}
	work := &move{relocation: relocation{vm: vm, source: m.inventory.host(*vm.Runtime.Host)}, by: by}
	record := &MoveRecord{SourceVCenter: m.inventory.config.VCenter.Name, TargetVCenter: target}
	// For DRS the VM is at its source until it is gone.
	return m.launch(work, work.source.Self, record, func() types.BaseMethodFault {
		plan, faults := m.across(vm, spec)
		if len(faults) > 0 {
			return faults[0]
		}
		work.relocation = plan
		transfers := m.storage.transfers(plan)
		m.note(record, func(record *MoveRecord) { record.Target, record.Storage = plan.to.host.Name, transfers })
		return m.vmotion(work)
	})
}

// leaving finds the VM, and checks what a vCenter checks before it makes a task.
func (m *moves) leaving(
	vmRef types.ManagedObjectReference, spec types.VirtualMachineRelocateSpec,
) (*simulator.VirtualMachine, types.BaseMethodFault) {
	vm := m.inventory.vm(vmRef)
	switch {
	case vm == nil:
		return nil, &types.ManagedObjectNotFound{Obj: vmRef}
	case isDisabled(vm):
		return nil, &types.MethodDisabled{}
	case spec.Host == nil:
		return nil, invalid("spec.host")
	case spec.Pool == nil:
		return nil, invalid("spec.pool")
	case spec.Datastore == nil:
		return nil, invalid("spec.datastore")
	}
	return vm, nil
}

// across reads a specification that leads to another vCenter. The faults are what is wrong with it; if there are any, there may be
// no relocation.
func (m *moves) across(vm *simulator.VirtualMachine, spec types.VirtualMachineRelocateSpec) (relocation, []types.BaseMethodFault) {
	there, user, fault := m.vcenter.peers.reach(m.vcenter, spec.Service)
	if fault != nil {
		return relocation{}, []types.BaseMethodFault{fault}
	}
	if isOlder(there.inventory.content().About.Version, m.inventory.content().About.Version) {
		return relocation{}, []types.BaseMethodFault{&types.NotSupported{}}
	}
	far := there.moves
	if spec, fault = far.local(spec); fault != nil {
		return relocation{}, []types.BaseMethodFault{fault}
	}
	to, fault := far.landing(spec)
	if fault != nil {
		return relocation{}, []types.BaseMethodFault{fault}
	}
	from := m.storage.layout(vm)
	wanted, fault := far.storage.wanted(from, spec.Datastore, spec.Disk)
	if fault != nil {
		return relocation{}, []types.BaseMethodFault{fault}
	}
	plan := relocation{
		vm: vm, source: m.inventory.host(*vm.Runtime.Host), to: to, from: from, wanted: wanted, cross: &crossing{there: there, user: user},
	}
	if fault := far.missingPrivileges(plan, spec); fault != nil {
		return plan, []types.BaseMethodFault{fault}
	}
	return plan, nil
}

// local is the specification with the references as this vCenter knows them: clients say to which vCenter they belong.
func (m *moves) local(spec types.VirtualMachineRelocateSpec) (types.VirtualMachineRelocateSpec, types.BaseMethodFault) {
	own := m.inventory.content().About.InstanceUuid
	take := func(ref *types.ManagedObjectReference) *types.ManagedObjectReference {
		if ref == nil || (ref.ServerGUID != "" && !strings.EqualFold(ref.ServerGUID, own)) {
			return nil
		}
		return &types.ManagedObjectReference{Type: ref.Type, Value: ref.Value}
	}
	for _, each := range []struct {
		property string
		ref      **types.ManagedObjectReference
	}{{"spec.host", &spec.Host}, {"spec.pool", &spec.Pool}, {"spec.datastore", &spec.Datastore}, {"spec.folder", &spec.Folder}} {
		given := *each.ref
		if *each.ref = take(given); given != nil && *each.ref == nil {
			return spec, invalid(each.property)
		}
	}
	spec.Disk = slices.Clone(spec.Disk)
	for i := range spec.Disk {
		ref := take(&spec.Disk[i].Datastore)
		if ref == nil {
			return spec, invalid("spec.disk.datastore")
		}
		spec.Disk[i].Datastore = *ref
	}
	return spec, nil
}

// landing is where a specification leads in this vCenter, to which the VM comes from another one.
func (m *moves) landing(spec types.VirtualMachineRelocateSpec) (*destination, types.BaseMethodFault) {
	host := m.inventory.host(*spec.Host)
	if host == nil {
		return nil, invalid("spec.host")
	}
	pool, ok := m.inventory.registry.Get(*spec.Pool).(*simulator.ResourcePool)
	if !ok || pool.Owner != *host.Parent {
		return nil, invalid("spec.pool")
	}
	to := &destination{host: host, pool: pool, elsewhere: true, backings: backings(spec)}
	datacenter := m.inventory.datacenterOf(host)
	if fault := m.readFolder(to, spec, true, datacenter); fault != nil {
		return nil, fault
	}
	return to, m.checkDatastores(spec, datacenter)
}

// missingPrivileges is the fault of what the user of the other vCenter may not do here. The privileges on host, pool and
// datastore are those of a relocation; that on the folder is in the reference of RelocateVM_Task.
func (m *moves) missingPrivileges(plan relocation, spec types.VirtualMachineRelocateSpec) types.BaseMethodFault {
	needs := []need{
		{plan.to.host.Self, "Resource.AssignVMToPool"}, {plan.to.pool.Self, "Resource.AssignVMToPool"},
		{plan.to.folder.Self, "VirtualMachine.Inventory.Register"}, {*spec.Datastore, "Datastore.AllocateSpace"},
	}
	for _, disk := range spec.Disk {
		needs = append(needs, need{disk.Datastore, "Datastore.AllocateSpace"})
	}
	for _, card := range cards(plan.vm) {
		if network, _ := m.inventory.networkAt(plan.to, card); network != nil {
			needs = append(needs, need{network.Self, "Network.Assign"})
		}
	}
	return m.vcenter.access.missing(plan.cross.user, needs, m.inventory.abroad)
}

// crossingObstacles prevent a move between vCenters whatever the VM and the hosts are.
func (m *moves) crossingObstacles(plan relocation) (found []types.BaseMethodFault) {
	if fault := m.line(plan).broken(); fault != nil {
		found = append(found, fault)
	}
	if !plan.cross.there.isUp() {
		found = append(found, &types.HostCommunication{})
	}
	there := plan.cross.there.inventory
	var siblings []types.ManagedObjectReference
	there.as("").WithLock(plan.to.folder, func() { siblings = slices.Clone(plan.to.folder.ChildEntity) })
	for _, ref := range siblings {
		if other, ok := there.registry.Get(ref).(mo.Entity); ok && other.Entity().Name == plan.vm.Name {
			found = append(found, &types.DuplicateName{Name: plan.vm.Name, Object: there.abroad(ref)})
		}
	}
	return found
}

// abroad is a reference as other vCenters see it.
func (i *inventory) abroad(ref types.ManagedObjectReference) types.ManagedObjectReference {
	ref.ServerGUID = i.content().About.InstanceUuid
	return ref
}

// handOver puts the VM into the other vCenter, with a new MoID, and takes it out of this one. Custom attributes, rules and overrides
// stay behind.
func (m *moves) handOver(work *move) {
	there, vm := work.cross.there, work.vm
	if m.inventory.vm(vm.Self) == nil {
		return // deleted meanwhile
	}
	arrived := m.uprooted(work)
	there.inventory.graphics.release(m.gpuUser(work.relocation))
	there.inventory.readd(arrived, m.inventory.vmSpec(vm), work.to.folder, work.to.host, work.to.pool.Self, "")
	ctx := there.inventory.as(work.cross.user)
	for _, ref := range slices.Concat(arrived.Datastore, arrived.Network) {
		there.inventory.enter(ctx, ref, arrived.Self)
	}
	m.guests.handOver(vm.Self, there.guests, arrived.Self)
	work.cross.arrived = arrived
	for _, ref := range slices.Concat(vm.Datastore, vm.Network) {
		m.inventory.leave(work.ctx, ref, vm.Self)
	}
	m.inventory.remove(work.ctx, vm)
}

// uprooted is a copy of the VM as it will be in the other vCenter. Nobody changes what both point to.
func (m *moves) uprooted(work *move) *simulator.VirtualMachine {
	var vm simulator.VirtualMachine
	work.ctx.WithLock(work.vm, func() { vm = *work.vm })
	config, layout := *vm.Config, types.VirtualMachineFileLayout{}
	if vm.Layout != nil {
		layout = *vm.Layout
	}
	layout.Disk = slices.Clone(layout.Disk)
	for i := range layout.Disk {
		layout.Disk[i].DiskFile = slices.Clone(layout.Disk[i].DiskFile)
	}
	vm.Config, vm.Layout = &config, &layout
	there := work.cross.there
	config.Hardware.Device, vm.Network = there.inventory.rewired(&vm, work.to)
	for part, ref := range work.wanted {
		putFiles(&vm, part, there.storage.datastore(ref))
	}
	vm.Datastore = work.datastores()
	vm.AvailableField = there.inventory.fieldsOfVMs()
	if browser := there.inventory.browserOf(work.to.host); browser != nil {
		vm.EnvironmentBrowser = *browser
	}
	return &vm
}

// isOlder compares versions such as 8.0.3.
func isOlder(one, other string) bool {
	return slices.Compare(numbers(one), numbers(other)) < 0
}

func numbers(version string) []int {
	var found []int
	for _, part := range strings.Split(version, ".") {
		number, _ := strconv.Atoi(part)
		found = append(found, number)
	}
	return found
}
