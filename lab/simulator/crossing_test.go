package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// crossingSpec leads from one vCenter to the host, pool, folder and datastore of another one.
func crossingSpec(there *vcenter) types.VirtualMachineRelocateSpec {
	inventory, prefix := there.inventory, there.config.VCenter.Password
	abroad := func(ref types.ManagedObjectReference) *types.ManagedObjectReference {
		ref = inventory.abroad(ref)
		return &ref
	}
	var pool, folder types.ManagedObjectReference
	for _, each := range all[*simulator.ResourcePool](inventory, "ResourcePool") {
		if each.Name == prefix+"-pool" {
			pool = each.Self
		}
	}
	for _, each := range all[*simulator.Folder](inventory, "Folder") {
		if each.Name == prefix+"-folder" {
			folder = each.Self
		}
	}
	short, _ := thumbprints(there.identity.shown())
	return types.VirtualMachineRelocateSpec{
		Host: abroad(inventory.findHost(prefix + "-host").Self), Pool: abroad(pool), Folder: abroad(folder),
		Datastore: abroad(there.storage.named(prefix + "-store").Self),
		Service: &types.ServiceLocator{
			InstanceUuid: inventory.content().About.InstanceUuid, Url: fmt.Sprintf("https://%s/sdk", there.server.Listener.Addr()),
			Credential:    &types.ServiceLocatorNamePassword{Username: "admin", Password: prefix},
			SslThumbprint: short,
		},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{onNetwork(prefix + "-net")},
	}
}

// onNetwork puts the first adapter on a network.
func onNetwork(name string) *types.VirtualDeviceConfigSpec {
	card := &types.VirtualVmxnet3{}
	card.Key = 4000
	card.Backing = &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: name},
	}
	return &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: card}
}

// cross starts a move of the VM and returns its record.
func (v *vcenter) cross(t *testing.T, name string, spec types.VirtualMachineRelocateSpec) *MoveRecord {
	t.Helper()
	if _, fault := v.moves.start(starter{user: "admin"}, v.inventory.findVM(name).Self, spec); fault != nil {
		t.Fatalf("the call fails with %s", faultName(fault))
	}
	return v.moves.records[len(v.moves.records)-1]
}

// ended waits for the end of a move, and returns its fault or "".
func (v *vcenter) ended(t *testing.T, record *MoveRecord) string {
	t.Helper()
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(time.Millisecond) {
		v.moves.mu.Lock()
		finished, fault := record.Finished, record.Error
		v.moves.mu.Unlock()
		switch {
		case finished == nil:
		case fault == nil:
			return ""
		default:
			return *fault
		}
	}
	t.Fatal("the move does not end")
	return ""
}

func eventually(t *testing.T, problem string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(problem)
		}
	}
}

func TestAVMMovesToAnotherVCenterAndBack(t *testing.T) {
	here, there := two(t, nil)
	before := here.inventory.findVM("west-vm")
	key, config, booted := before.Self, *before.Config, *before.Runtime.BootTime
	record := here.cross(t, "west-vm", crossingSpec(there))
	if fault := here.ended(t, record); fault != "" {
		t.Fatalf("the move fails with %s", fault)
	}
	if here.inventory.findVM("west-vm") != nil || here.inventory.vm(key) != nil {
		t.Error("the VM is still in the vCenter that it left")
	}
	vm := there.inventory.findVM("west-vm")
	if vm == nil {
		t.Fatal("the VM is not in the other vCenter")
	}
	if vm.Self == key {
		t.Errorf("the VM kept its MoID %s", key.Value)
	}
	if vm.Config.InstanceUuid != config.InstanceUuid || vm.Config.Uuid != config.Uuid || !vm.Runtime.BootTime.Equal(booted) {
		t.Error("the VM has another UUID or was booted")
	}
	view := there.inventory.view(vm)
	places := []string{there.inventory.nameOf(view.host), there.inventory.nameOf(view.folder), there.inventory.nameOf(view.pool), vm.Config.Files.VmPathName}
	if got := fmt.Sprint(places); got != "[east-host east-folder east-pool [east-store] west-vm/west-vm.vmx]" {
		t.Errorf("the VM is at %s", got)
	}
	if network, name := there.inventory.networkAt(&destination{host: there.inventory.findHost("east-host")}, cards(vm)[0]); network == nil || name != "east-net" {
		t.Errorf("the adapter is on %s", name)
	}
	if near, far := here.free("west-store"), there.free("east-store"); near != 54 || far != 46 {
		t.Errorf("%v and %v GB are free, not 54 and 46", near, far)
	}
	if record.SourceVCenter != "site" || record.TargetVCenter != "cloud" || record.Target != "east-host" || record.Switched == nil {
		t.Errorf("the record is %+v", *record)
	}
	eventually(t, "the rule and the override are still there", func() bool {
		config := here.inventory.clusterConfiguration(here.inventory.clusters[0])
		return len(config.Rule) == 0 && len(config.DrsVmConfig) == 0
	})
	if got := record.Storage["Hard disk 1"]; got != (Transfer{"west-store", "east-store"}) {
		t.Errorf("the disk moves as %v", got)
	}
	back := there.cross(t, "west-vm", crossingSpec(here))
	if fault := there.ended(t, back); fault != "" {
		t.Fatalf("the way back fails with %s", fault)
	}
	home := here.inventory.findVM("west-vm")
	if home == nil || home.Config.InstanceUuid != config.InstanceUuid || there.inventory.findVM("west-vm") != nil {
		t.Error("the VM is not back")
	}
	if near, far := here.free("west-store"), there.free("east-store"); near != 50 || far != 50 {
		t.Errorf("%v and %v GB are free at the end, not 50 and 50", near, far)
	}
}

func TestWhatRunsInAVMMovesWithIt(t *testing.T) {
	folder := t.TempDir()
	here, there := two(t, nil)
	vm := here.inventory.findVM("west-vm")
	running := &guestProcess{guest: Guest{Command: []string{"sleep", "60"}, Log: filepath.Join(folder, "log")}}
	here.guests.running[vm.Self.Value] = running
	if err := running.start(); err != nil {
		t.Fatal(err)
	}
	defer running.kill()
	pid := running.state()["pid"]
	there.wan.change(func(w *wan) { w.latency = 50 * time.Millisecond })
	record := here.cross(t, "west-vm", crossingSpec(there))
	if fault := here.ended(t, record); fault != "" {
		t.Fatalf("the move fails with %s", fault)
	}
	if here.guests.of(vm.Self) != nil {
		t.Error("the vCenter that the VM left still has its guest")
	}
	arrived := there.guests.of(there.inventory.findVM("west-vm").Self)
	if arrived == nil || arrived.state()["pid"] != pid || arrived.state()["state"] != "running" {
		t.Errorf("the guest is %v", arrived)
	}
	if least := stunBase + stunPerGB + stunRoundTrips*0.05; record.Freeze == nil || *record.Freeze < least {
		t.Errorf("the guest was not frozen for %v s or more: %+v", least, arrived.recorded())
	}
}

func TestRulesAndOverridesStayBehindAVM(t *testing.T) {
	vm, other := types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-1"}, types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-2"}
	both := []types.ManagedObjectReference{vm, other}
	config := types.ClusterConfigInfoEx{
		DrsVmConfig: []types.ClusterDrsVmConfigInfo{{Key: vm}, {Key: other}},
		Rule: []types.BaseClusterRuleInfo{
			&types.ClusterAntiAffinityRuleSpec{Vm: both}, &types.ClusterAffinityRuleSpec{Vm: []types.ManagedObjectReference{vm}},
		},
		Group: []types.BaseClusterGroupInfo{&types.ClusterVmGroup{Vm: both}, &types.ClusterHostGroup{}},
	}
	after, named := without(config, vm)
	if !named || len(after.DrsVmConfig) != 1 || len(after.Rule) != 1 {
		t.Fatalf("%v: what is left is %+v", named, after)
	}
	if left := after.Rule[0].(*types.ClusterAntiAffinityRuleSpec).Vm; len(left) != 1 || left[0] != other {
		t.Errorf("the rule is about %v", left)
	}
	if left := after.Group[0].(*types.ClusterVmGroup).Vm; len(left) != 1 || left[0] != other {
		t.Errorf("the group has %v", left)
	}
	if len(config.Rule[0].(*types.ClusterAntiAffinityRuleSpec).Vm) != 2 {
		t.Error("an older configuration has changed")
	}
	if _, named := without(after, vm); named {
		t.Error("a VM that nothing names counts as named")
	}
}
