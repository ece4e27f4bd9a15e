package main

import (
	"encoding/pem"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// names are the classes of faults.
func names(errors []types.LocalizedMethodFault) []string {
	found := []string{}
	for _, each := range errors {
		found = append(found, faultName(each.Fault.(types.BaseMethodFault)))
	}
	return found
}

// refused moves the VM, expects the fault, and that the VM is in its vCenter and nothing in the other one. The check finds the same.
func refused(t *testing.T, here, there *vcenter, spec types.VirtualMachineRelocateSpec, want string) {
	t.Helper()
	vm, free := here.inventory.findVM("west-vm"), there.free("east-store")
	if got := names(here.moves.checked(vm.Self, spec).Error); !slices.Contains(got, want) {
		t.Errorf("the check finds %v, not %s", got, want)
	}
	_, fault := here.moves.start(starter{user: "admin"}, vm.Self, spec)
	got := ""
	if fault != nil {
		got = faultName(fault)
	} else {
		got = here.ended(t, here.moves.records[len(here.moves.records)-1])
	}
	if got != want {
		t.Errorf("the move ends with %q, not %s", got, want)
	}
	here.intact(t, there, free)
}

// intact is a VM that is where it was, and can move; the other vCenter has as much free space as before.
func (v *vcenter) intact(t *testing.T, there *vcenter, free float64) {
	t.Helper()
	vm := v.inventory.findVM("west-vm")
	if vm == nil || v.inventory.nameOf(v.inventory.view(vm).host) != "west-host" || there.inventory.findVM("west-vm") != nil {
		t.Error("the VM is not where it was, and only there")
	}
	if near, far := v.free("west-store"), there.free("east-store"); near != 50 || far != free {
		t.Errorf("%v and %v GB are free, not 50 and %v", near, far, free)
	}
	if moving := v.moves.moving(); len(moving) > 0 {
		t.Errorf("the VM still moves: %v", moving)
	}
}

func TestWhatIsWrongWithTheOtherVCenterIsRefused(t *testing.T) {
	here, there := two(t, nil)
	pemOf := func(v *vcenter) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.identity.shown()}))
	}
	short, long := thumbprints(there.identity.shown())
	own, _ := thumbprints(here.identity.shown())
	for name, each := range map[string]struct {
		change func(*types.ServiceLocator)
		want   string
	}{
		"thumbprint of another server": {func(s *types.ServiceLocator) { s.SslThumbprint = own }, "SSLVerifyFault"},
		"no thumbprint":                {func(s *types.ServiceLocator) { s.SslThumbprint = "" }, "SSLVerifyFault"},
		"certificate of another server": {
			func(s *types.ServiceLocator) { s.SslThumbprint, s.SslCertificate = "", pemOf(here) }, "SSLVerifyFault",
		},
		"certificate and another thumbprint": {
			func(s *types.ServiceLocator) { s.SslThumbprint, s.SslCertificate = own, pemOf(there) }, "InvalidArgument",
		},
		"no certificate": {func(s *types.ServiceLocator) { s.SslCertificate = "none" }, "InvalidArgument"},
		"password": {func(s *types.ServiceLocator) {
			s.Credential = &types.ServiceLocatorNamePassword{Username: "admin", Password: "west"}
		}, "InvalidLogin"},
		"user without a role": {func(s *types.ServiceLocator) {
			s.Credential = &types.ServiceLocatorNamePassword{Username: "operator", Password: "east"}
		}, "NoPermission"},
		"credential":    {func(s *types.ServiceLocator) { s.Credential = &types.ServiceLocatorSAMLCredential{} }, "InvalidArgument"},
		"instance UUID": {func(s *types.ServiceLocator) { s.InstanceUuid = here.inventory.content().About.InstanceUuid }, "InvalidArgument"},
		"itself": {func(s *types.ServiceLocator) {
			s.Url, s.SslThumbprint = fmt.Sprintf("https://%s/sdk", here.server.Listener.Addr()), own
			s.InstanceUuid = here.inventory.content().About.InstanceUuid
		}, "InvalidArgument"},
		"address without a server": {func(s *types.ServiceLocator) { s.Url = "https://127.0.0.1:1/sdk" }, "NoHost"},
		"address":                  {func(s *types.ServiceLocator) { s.Url = "127.0.0.1" }, "InvalidArgument"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := crossingSpec(there)
			each.change(spec.Service)
			refused(t, here, there, spec, each.want)
		})
	}
	for name, change := range map[string]func(*types.ServiceLocator){
		"SHA-256":     func(s *types.ServiceLocator) { s.SslThumbprint = long },
		"certificate": func(s *types.ServiceLocator) { s.SslThumbprint, s.SslCertificate = "", pemOf(there) },
		"both":        func(s *types.ServiceLocator) { s.SslCertificate = pemOf(there) },
		"no path":     func(s *types.ServiceLocator) { s.Url = "https://" + there.server.Listener.Addr().String() },
	} {
		spec := crossingSpec(there)
		change(spec.Service)
		if errors := names(here.moves.checked(here.inventory.findVM("west-vm").Self, spec).Error); len(errors) > 0 {
			t.Errorf("%s: refused with %v", name, errors)
		}
	}
	spec := crossingSpec(there)
	spec.Service.SslThumbprint = own
	fault := here.moves.checked(here.inventory.findVM("west-vm").Self, spec).Error[0].Fault.(*types.SSLVerifyFault)
	if fault.Thumbprint != short {
		t.Errorf("the fault names the thumbprint %s, not %s", fault.Thumbprint, short)
	}
}

func TestACertificateThatHasExpiredIsRefused(t *testing.T) {
	here, there := two(t, func(cloud *Config) { cloud.Certificate = "expired" })
	refused(t, here, there, crossingSpec(there), "SSLVerifyFault")
}

func TestAnOlderVCenterIsRefused(t *testing.T) {
	here, there := two(t, func(cloud *Config) { cloud.Version = "7.0.3" })
	refused(t, here, there, crossingSpec(there), "NotSupported")
	if isOlder("8.0.10", "8.0.9") || !isOlder("8.0.3", "8.1.0") || isOlder("8.0.3", "8.0.3") {
		t.Error("versions are compared as texts")
	}
}

func TestWhatIsWrongWithThePlaceIsRefused(t *testing.T) {
	for name, each := range map[string]struct {
		change func(*types.VirtualMachineRelocateSpec, *vcenter)
		want   string
	}{
		"no host":      {func(s *types.VirtualMachineRelocateSpec, _ *vcenter) { s.Host = nil }, "InvalidArgument"},
		"no pool":      {func(s *types.VirtualMachineRelocateSpec, _ *vcenter) { s.Pool = nil }, "InvalidArgument"},
		"no datastore": {func(s *types.VirtualMachineRelocateSpec, _ *vcenter) { s.Datastore = nil }, "InvalidArgument"},
		"host of a third vCenter": {func(s *types.VirtualMachineRelocateSpec, _ *vcenter) {
			s.Host.ServerGUID = "11111111-2222-3333-4444-555555555555"
		}, "InvalidArgument"},
		"network": {func(s *types.VirtualMachineRelocateSpec, _ *vcenter) { s.DeviceChange = nil }, "CannotAccessNetwork"},
		"space": {func(_ *types.VirtualMachineRelocateSpec, there *vcenter) {
			there.storage.setFree(there.inventory.as(""), there.storage.named("east-store"), func(int64) int64 { return gib })
		}, "InsufficientStorageSpace"},
		"host in maintenance mode": {func(_ *types.VirtualMachineRelocateSpec, there *vcenter) {
			there.inventory.findHost("east-host").Runtime.InMaintenanceMode = true
		}, "InvalidHostState"},
		"WAN": {func(_ *types.VirtualMachineRelocateSpec, there *vcenter) {
			there.wan.change(func(w *wan) { w.down = true })
		}, "HostCommunication"},
		"no answer": {func(_ *types.VirtualMachineRelocateSpec, there *vcenter) {
			there.outages.add(&failure{how: unavailable, until: time.Now().Add(time.Minute)})
		}, "HostCommunication"},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := two(t, nil)
			spec := crossingSpec(there)
			each.change(&spec, there)
			refused(t, here, there, spec, each.want)
		})
	}
}

func TestTwoVMsOfOneFolderHaveDifferentNames(t *testing.T) {
	here, there := two(t, nil)
	there.inventory.findVM("east-vm").Name = "west-vm"
	vm := here.inventory.findVM("west-vm")
	if got := names(here.moves.checked(vm.Self, crossingSpec(there)).Error); !slices.Equal(got, []string{"DuplicateName"}) {
		t.Errorf("the check finds %v", got)
	}
	if fault := here.ended(t, here.cross(t, "west-vm", crossingSpec(there))); fault != "DuplicateName" {
		t.Errorf("the move ends with %q", fault)
	}
}

func TestReferencesNeedNotNameTheirVCenter(t *testing.T) {
	here, there := two(t, nil)
	spec := crossingSpec(there)
	for _, ref := range []*types.ManagedObjectReference{spec.Host, spec.Pool, spec.Folder, spec.Datastore} {
		ref.ServerGUID = ""
	}
	if fault := here.ended(t, here.cross(t, "west-vm", spec)); fault != "" {
		t.Errorf("the move ends with %s", fault)
	}
}

func TestWithoutAFolderTheVMComesIntoTheRootFolder(t *testing.T) {
	here, there := two(t, nil)
	spec := crossingSpec(there)
	spec.Folder = nil
	if fault := here.ended(t, here.cross(t, "west-vm", spec)); fault != "" {
		t.Fatalf("the move ends with %s", fault)
	}
	vm := there.inventory.findVM("west-vm")
	if root := there.inventory.datacenterOf(there.inventory.findHost("east-host")).VmFolder; there.inventory.view(vm).folder != root {
		t.Errorf("the VM is in %s", there.inventory.nameOf(there.inventory.view(vm).folder))
	}
}

// allow gives the operator of a vCenter a role with these privileges on everything.
func (v *vcenter) allow(t *testing.T, privileges []string) {
	t.Helper()
	manager, ctx := v.access.authorization(), v.inventory.as("admin")
	for i := range manager.RoleList {
		if manager.RoleList[i].Name == "crossing" {
			manager.RoleList[i].Privilege = privileges
			return
		}
	}
	body := manager.AddAuthorizationRole(&types.AddAuthorizationRole{Name: "crossing", PrivIds: privileges}).(*methods.AddAuthorizationRoleBody)
	if body.Fault_ != nil {
		t.Fatal(body.Fault_.String)
	}
	root := v.inventory.rootFolder()
	ctx.WithLock(manager, func() {
		manager.SetEntityPermissions(&types.SetEntityPermissions{Entity: root, Permission: []types.Permission{{
			Entity: &root, Principal: "operator", RoleId: body.Res.Returnval, Propagate: true,
		}}})
	})
}

// misses reports whether a fault names one missing privilege first.
func misses(fault *types.NoPermission, privilege string) bool {
	return len(fault.MissingPrivileges) > 0 && slices.Equal(fault.MissingPrivileges[0].PrivilegeIds, []string{privilege})
}

func TestTheUserOfTheOtherVCenterNeedsPrivilegesThere(t *testing.T) {
	needed := []string{
		"Resource.AssignVMToPool", "VirtualMachine.Inventory.Register", "Datastore.AllocateSpace", "Network.Assign",
	}
	here, there := two(t, nil)
	spec := crossingSpec(there)
	spec.Service.Credential = &types.ServiceLocatorNamePassword{Username: "operator", Password: "east"}
	for i, privilege := range needed {
		there.allow(t, append([]string{"System.View"}, slices.Delete(slices.Clone(needed), i, i+1)...))
		errors := here.moves.checked(here.inventory.findVM("west-vm").Self, spec).Error
		for _, each := range errors {
			fault, ok := each.Fault.(*types.NoPermission)
			if !ok || !misses(fault, privilege) || fault.MissingPrivileges[0].Entity.ServerGUID != there.inventory.content().About.InstanceUuid {
				t.Errorf("without %s: %s about %v", privilege, faultName(each.Fault.(types.BaseMethodFault)), fault)
			}
		}
		refused(t, here, there, spec, "NoPermission")
	}
	there.allow(t, []string{"System.View", "Resource.AssignVMToPool", "Network.Assign"})
	errors := here.moves.checked(here.inventory.findVM("west-vm").Self, spec).Error
	if len(errors) != 1 || len(errors[0].Fault.(*types.NoPermission).MissingPrivileges) != 2 {
		t.Errorf("without two privileges the check finds %v", names(errors))
	}
	there.allow(t, append([]string{"System.View"}, needed...))
	if fault := here.ended(t, here.cross(t, "west-vm", spec)); fault != "" {
		t.Errorf("with all privileges the move ends with %s", fault)
	}
	if demanded := there.access.demandedPrivileges()["operator"]; len(demanded) < len(needed) {
		t.Errorf("only %v were demanded", demanded)
	}
}

func TestAMoveAcrossNeedsTheSamePrivilegesAtItsSource(t *testing.T) {
	here, there := two(t, nil)
	spec := crossingSpec(there)
	method := &simulator.Method{
		Name: "RelocateVM_Task", This: here.inventory.findVM("west-vm").Self,
		Body: &types.RelocateVM_Task{This: here.inventory.findVM("west-vm").Self, Spec: spec},
	}
	both := []string{"System.View", "Resource.ColdMigrate", "Resource.HotMigrate"}
	here.allow(t, slices.Clone(both[:2]))
	if fault, ok := here.access.refusal("operator", method).(*types.NoPermission); !ok || !misses(fault, "Resource.HotMigrate") {
		t.Errorf("without Resource.HotMigrate: %v", fault)
	}
	here.allow(t, both)
	if fault := here.access.refusal("operator", method); fault != nil {
		t.Errorf("with both: %v", faultName(fault))
	}
}

// underway starts a move over a WAN that is so narrow that it does not end by itself.
func underway(t *testing.T, here, there *vcenter) *MoveRecord {
	t.Helper()
	there.wan.change(func(w *wan) { w.mbit = 1 })
	record := here.cross(t, "west-vm", crossingSpec(there))
	eventually(t, "the copy does not begin", func() bool { return there.wan.state()["moves"] == 1 })
	if near, far := here.free("west-store"), there.free("east-store"); near != 50 || far != 46 {
		t.Errorf("%v and %v GB are free while the VM is copied, not 50 and 46", near, far)
	}
	return record
}

func TestAWANThatBreaksEndsTheMove(t *testing.T) {
	here, there := two(t, nil)
	record := underway(t, here, there)
	there.wan.change(func(w *wan) { w.down = true })
	if fault := here.ended(t, record); fault != "GenericVmConfigFault" {
		t.Errorf("the move ends with %q", fault)
	}
	here.intact(t, there, 50)
	there.wan.change(func(w *wan) { w.down, w.mbit = false, 10_000 })
	if fault := here.ended(t, here.cross(t, "west-vm", crossingSpec(there))); fault != "" {
		t.Errorf("after the repair the move ends with %s", fault)
	}
}

func TestAVCenterThatDoesNotAnswerTakesNoVM(t *testing.T) {
	for name, outage := range map[string]func(*vcenter){
		"killed":    func(v *vcenter) { v.kill(time.Minute) },
		"restarted": func(v *vcenter) { v.restart(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			here, there := two(t, nil)
			record := underway(t, here, there)
			outage(there)
			there.wan.change(func(w *wan) { w.mbit = 100_000 })
			if fault := here.ended(t, record); fault != "HostCommunication" {
				t.Errorf("the move ends with %q", fault)
			}
			here.intact(t, there, 50)
		})
	}
}

func TestAMoveAcrossContinuesWithoutItsTask(t *testing.T) {
	here, there := two(t, nil)
	record := underway(t, here, there)
	here.restart(time.Minute)
	there.wan.change(func(w *wan) { w.mbit = 100_000 })
	if fault := here.ended(t, record); fault != "" {
		t.Errorf("the move ends with %s", fault)
	}
	if here.inventory.findVM("west-vm") != nil || there.inventory.findVM("west-vm") == nil {
		t.Error("the VM is not in the other vCenter, and only there")
	}
}

func TestAMoveAcrossCanBeCancelled(t *testing.T) {
	here, there := two(t, nil)
	record := underway(t, here, there)
	here.moves.mu.Lock()
	task := here.moves.busy[here.inventory.findVM("west-vm").Self.Value].task
	here.moves.mu.Unlock()
	if !here.tasks.find(task).requestCancel() {
		t.Fatal("the move cannot be cancelled")
	}
	if fault := here.ended(t, record); fault != "RequestCanceled" || record.Result != "cancelled" {
		t.Errorf("the move ends with %q", fault)
	}
	here.intact(t, there, 50)
}

func TestAWANThatBreaksInTheFreezeLeavesTheVMAtItsSource(t *testing.T) {
	here, there := two(t, nil)
	there.wan.change(func(w *wan) { w.latency = 100 * time.Second }) // 0.4 s of freeze at this time scale
	record := here.cross(t, "west-vm", crossingSpec(there))
	vm := here.inventory.findVM("west-vm")
	eventually(t, "the freeze does not begin", func() bool {
		here.moves.mu.Lock()
		defer here.moves.mu.Unlock()
		operation, past := here.tasks.find(here.moves.busy[vm.Self.Value].task), false
		if operation != nil {
			operation.ctx.WithLock(operation.task, func() { past = !operation.task.Info.Cancelable })
		}
		return past
	})
	there.wan.change(func(w *wan) { w.down = true })
	if fault := here.ended(t, record); fault != "GenericVmConfigFault" || record.Switched != nil {
		t.Errorf("the move ends with %q", fault)
	}
	here.intact(t, there, 50)
}

func TestAMoveThatWaitsHoldsNoSlotsInTheOtherVCenter(t *testing.T) {
	here, there := two(t, nil)
	all := slots{hostSlots("west-host"): hostBudget}
	here.slots.acquire(all, nil)
	out, in := here.cross(t, "west-vm", crossingSpec(there)), there.cross(t, "east-vm", crossingSpec(here))
	eventually(t, "the moves do not wait", func() bool {
		here.slots.mu.Lock()
		defer here.slots.mu.Unlock()
		return len(here.slots.waiting) == 2
	})
	if used, _ := there.slots.of(hostSlots("east-host")); used > 0 {
		t.Errorf("%d slots are in use in the other vCenter", used)
	}
	here.slots.release(all)
	for _, fault := range []string{here.ended(t, out), there.ended(t, in)} {
		if fault != "" {
			t.Errorf("a move ends with %s", fault)
		}
	}
}
