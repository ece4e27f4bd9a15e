package main

import (
	"testing"

	pbmmethods "github.com/vmware/govmomi/pbm/methods"
	pbm "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25/types"
)

// policyVCenter is storageVCenter with two policies: the VM's own files and its first disk have silver, which the local datastores fit.
func policyVCenter(t *testing.T) *vcenter {
	t.Helper()
	v := storageVCenter(t)
	v.config.StoragePolicies = []Policy{
		{Name: "silver", Datastores: []string{"local-1", "local-2"}}, {Name: "gold", Datastores: []string{"shared"}},
	}
	v.config.VMs[0].StoragePolicy, v.config.VMs[0].Disks[0].StoragePolicy = "silver", "silver"
	v.policies = newPolicies(v.storage, v.config)
	v.moves.policies = v.policies
	return v
}

func (v *vcenter) policyNamed(name string) string {
	for id, policy := range v.policies.byID {
		if policy.Name == name {
			return id
		}
	}
	return name
}

func profile(id string) []types.BaseVirtualMachineProfileSpec {
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id}}
}

func TestWhatIsCopiedWithoutAPolicyLosesItsOwn(t *testing.T) {
	v := policyVCenter(t)
	spec := to(v, "esx-02", "local-2", map[int32]string{2000: "shared", 2001: "shared"})
	spec.Profile = profile(v.policyNamed("silver"))
	if fault := v.relocateAndWait(t, spec); fault != "" {
		t.Fatalf("the move fails: %s", fault)
	}
	state := v.policies.state(v.inventory.findVM("vm-01"))
	if len(state) != 1 || state["files"] != (partPolicy{"silver", true}) {
		t.Errorf("the policies are %v", state)
	}
}

func TestAMoveGivesPoliciesAndShowsWhatDoesNotFit(t *testing.T) {
	v := policyVCenter(t)
	spec := to(v, "", "shared", map[int32]string{2000: "shared", 2001: "shared"})
	spec.Profile, spec.Disk[0].Profile = profile(v.policyNamed("gold")), profile(v.policyNamed("gold"))
	spec.Disk[1].Profile = profile(v.policyNamed("silver"))
	if fault := v.relocateAndWait(t, spec); fault != "" {
		t.Fatalf("the move fails: %s", fault)
	}
	compliant := 0
	for _, each := range v.policies.state(v.inventory.findVM("vm-01")) {
		if each.Compliant {
			compliant++
		}
	}
	if state := v.policies.state(v.inventory.findVM("vm-01")); state["files"].Policy != "gold" || compliant != 2 {
		t.Errorf("the policies are %v", state)
	}
}

func TestAPolicyThatDoesNotExistIsRefused(t *testing.T) {
	v := policyVCenter(t)
	spec := to(v, "", "shared", nil)
	spec.Profile = profile("no-such-policy")
	if fault := v.relocateAndWait(t, spec); fault != "InvalidArgument" {
		t.Errorf("the fault is %q", fault)
	}
}

func TestThePolicyServiceAnswersByTheTopology(t *testing.T) {
	v := policyVCenter(t)
	service := &policyService{vcenter: v}
	vm := v.inventory.findVM("vm-01").Self.Value
	asked := &pbm.PbmQueryAssociatedProfiles{Entities: []pbm.PbmServerObjectRef{
		{ObjectType: "virtualMachine", Key: vm}, {ObjectType: "virtualDiskId", Key: vm + ":2001"}, {ObjectType: "virtualMachine", Key: "vm-0"},
	}}
	found := service.PbmQueryAssociatedProfiles(asked).(*pbmmethods.PbmQueryAssociatedProfilesBody).Res.Returnval
	if len(found) != 3 || found[0].ProfileId[0].UniqueId != v.policyNamed("silver") || found[1].ProfileId != nil || found[2].Fault == nil {
		t.Errorf("the policies are %v", found)
	}
	for name, fits := range map[string]bool{"local-1": true, "shared": false} {
		hub := pbm.PbmPlacementHub{HubType: "Datastore", HubId: v.storage.named(name).Self.Value}
		request := &pbm.PbmCheckCompatibility{
			HubsToSearch: []pbm.PbmPlacementHub{hub}, Profile: pbm.PbmProfileId{UniqueId: v.policyNamed("silver")},
		}
		result := service.PbmCheckCompatibility(request).(*pbmmethods.PbmCheckCompatibilityBody).Res.Returnval
		if len(result) != 1 || result[0].Hub != hub || (result[0].Error == nil) != fits {
			t.Errorf("%s fits silver: %v", name, result)
		}
	}
}
