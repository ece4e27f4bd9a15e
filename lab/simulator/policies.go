package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	pbmmethods "github.com/vmware/govmomi/pbm/methods"
	pbm "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	policyPath  = "/pbm"
	requirement = "REQUIREMENT"
)

// policies are the storage policies of a vCenter: which datastores fit them, and which of them VMs and their disks have.
type policies struct {
	storage *storage
	ids     []string // in the order of the topology
	byID    map[string]Policy

	mu       sync.Mutex
	assigned map[string]map[int32]string // by MoID of the VM, by part: id of the policy
}

// newPolicies gives the VMs of the topology their policies.
func newPolicies(storage *storage, config *Config) *policies {
	p := &policies{storage: storage, byID: map[string]Policy{}, assigned: map[string]map[int32]string{}}
	byName := map[string]string{}
	for _, policy := range config.StoragePolicies {
		id := uuid.NewString()
		p.ids, p.byID[id], byName[policy.Name] = append(p.ids, id), policy, id
	}
	for _, vm := range storage.inventory.vms() {
		spec := storage.inventory.vmSpec(vm)
		own := map[int32]string{ownFiles: byName[spec.StoragePolicy]}
		for i, disk := range spec.Disks {
			own[int32(diskKey+i)] = byName[disk.StoragePolicy]
		}
		maps.DeleteFunc(own, func(_ int32, id string) bool { return id == "" })
		p.assigned[vm.Self.Value] = own
	}
	return p
}

// of is the id of the policy that a part of a VM (MoID) has; "" for none.
func (p *policies) of(vm string, part int32) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.assigned[vm][part]
}

// fits reports whether a datastore fits a policy.
func (p *policies) fits(id string, datastore *simulator.Datastore) bool {
	return datastore != nil && reaches(p.byID[id].Datastores, datastore.Name)
}

// wanted are the policies that a specification gives to parts of a VM. A policy that the vCenter does not have is invalid.
func (p *policies) wanted(spec types.VirtualMachineRelocateSpec) (map[int32]string, types.BaseMethodFault) {
	found := map[int32]string{}
	read := func(part int32, profiles []types.BaseVirtualMachineProfileSpec) bool {
		for _, profile := range profiles {
			defined, ok := profile.(*types.VirtualMachineDefinedProfileSpec)
			if !ok {
				continue
			}
			if _, known := p.byID[defined.ProfileId]; !known {
				return false
			}
			found[part] = defined.ProfileId
		}
		return true
	}
	if !read(ownFiles, spec.Profile) {
		return nil, invalid("spec.profile")
	}
	for _, disk := range spec.Disk {
		if !read(disk.DiskId, disk.Profile) {
			return nil, invalid("spec.disk.profile")
		}
	}
	return found, nil
}

// moved changes the policies of a VM whose move is over. A part that was copied without a policy has none any more.
func (p *policies) moved(plan relocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.assigned[plan.vm.Self.Value]
	if own == nil {
		own = map[int32]string{}
		p.assigned[plan.vm.Self.Value] = own
	}
	for part := range plan.wanted {
		if p.storage.moves(plan, part) {
			delete(own, part)
		}
	}
	maps.Copy(own, plan.policies)
}

// partPolicy is what the control API says of a part of a VM.
type partPolicy struct {
	Policy    string `json:"policy"`
	Compliant bool   `json:"compliant"`
}

// state is the policy of each part of a VM that has one, by the name of the part.
func (p *policies) state(vm *simulator.VirtualMachine) map[string]partPolicy {
	found := map[string]partPolicy{}
	for part, ref := range p.storage.layout(vm) {
		if id := p.of(vm.Self.Value, part); id != "" {
			found[p.storage.partName(vm, part)] = partPolicy{p.byID[id].Name, p.fits(id, p.storage.datastore(ref))}
		}
	}
	return found
}

// policyService is a managed object of the policy service (SPBM). All of its objects are one, which holds no lock.
type policyService struct {
	Self    types.ManagedObjectReference
	vcenter *vcenter
}

// Reference makes it a managed object.
func (s *policyService) Reference() types.ManagedObjectReference { return s.Self }

// Lock and Unlock keep the simulator from serialising the calls.
func (s *policyService) Lock() {}

// Unlock is the other half of Lock.
func (s *policyService) Unlock() {}

var policyContent = pbm.PbmServiceInstanceContent{
	AboutInfo:                 pbm.PbmAboutInfo{Name: "PBM", Version: "2.0", InstanceUuid: "df09f335-be97-4f33-8c27-315faaaad6fc"},
	SessionManager:            types.ManagedObjectReference{Type: "PbmSessionManager", Value: "SessionManager"},
	CapabilityMetadataManager: types.ManagedObjectReference{Type: "PbmCapabilityMetadataManager", Value: "CapabilityMetadataManager"},
	ProfileManager:            types.ManagedObjectReference{Type: "PbmProfileProfileManager", Value: "ProfileManager"},
	ComplianceManager:         types.ManagedObjectReference{Type: "PbmComplianceManager", Value: "complianceManager"},
	PlacementSolver:           types.ManagedObjectReference{Type: "PbmPlacementSolver", Value: "placementSolver"},
}

// servePolicies adds the policy service to what the vCenter answers. It knows a caller by the cookie of the session of vSphere's API
// in the header of each call.
func (v *vcenter) servePolicies() {
	registry := simulator.NewRegistry()
	registry.Namespace, registry.Path, registry.Cookie = "pbm", policyPath, simulator.SOAPCookie
	for _, ref := range []types.ManagedObjectReference{
		{Type: "PbmServiceInstance", Value: "ServiceInstance"}, policyContent.ProfileManager, policyContent.PlacementSolver,
	} {
		registry.Put(&policyService{ref, v})
	}
	registry.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		v.calls.count(method.Name)
		if ctx.Session == nil {
			return nil, nil
		}
		v.sessions.note(ctx.Session.Key)
		if fault := v.access.refusal(ctx.Session.UserName, method); fault != nil {
			return nil, fault
		}
		return nil, v.faults.take(callFaults(method.Name), method.This)
	}
	v.service.RegisterSDK(registry, policyPath+"/sdk")
}

// PbmRetrieveServiceContent names the managers of the service.
func (s *policyService) PbmRetrieveServiceContent(_ *pbm.PbmRetrieveServiceContent) soap.HasFault {
	return &pbmmethods.PbmRetrieveServiceContentBody{Res: &pbm.PbmRetrieveServiceContentResponse{Returnval: policyContent}}
}

// PbmQueryProfile lists the policies of the topology; other categories have none.
func (s *policyService) PbmQueryProfile(req *pbm.PbmQueryProfile) soap.HasFault {
	body := &pbmmethods.PbmQueryProfileBody{Res: &pbm.PbmQueryProfileResponse{}}
	if req.ProfileCategory != "" && req.ProfileCategory != requirement {
		return body
	}
	for _, id := range s.vcenter.policies.ids {
		body.Res.Returnval = append(body.Res.Returnval, pbm.PbmProfileId{UniqueId: id})
	}
	return body
}

// PbmRetrieveContent describes policies. It must be asked for at least one, and for none that does not exist.
func (s *policyService) PbmRetrieveContent(req *pbm.PbmRetrieveContent) soap.HasFault {
	body := &pbmmethods.PbmRetrieveContentBody{}
	response := &pbm.PbmRetrieveContentResponse{}
	for _, id := range req.ProfileIds {
		policy, known := s.vcenter.policies.byID[id.UniqueId]
		if !known {
			body.Fault_ = simulator.Fault("", invalid("profileIds"))
			return body
		}
		response.Returnval = append(response.Returnval, described(id, policy))
	}
	if len(req.ProfileIds) == 0 {
		body.Fault_ = simulator.Fault("", invalid("profileIds"))
		return body
	}
	body.Res = response
	return body
}

func described(id pbm.PbmProfileId, policy Policy) *pbm.PbmCapabilityProfile {
	return &pbm.PbmCapabilityProfile{
		PbmProfile: pbm.PbmProfile{
			ProfileId: id, Name: policy.Name, CreationTime: time.Now(), CreatedBy: "lab", LastUpdatedTime: time.Now(), LastUpdatedBy: "lab",
		},
		ProfileCategory: requirement, ResourceType: pbm.PbmProfileResourceType{ResourceType: "STORAGE"},
		Constraints: &pbm.PbmCapabilitySubProfileConstraints{SubProfiles: []pbm.PbmCapabilitySubProfile{{Name: "lab"}}},
	}
}

// PbmQueryAssociatedProfiles returns the policy of each VM (of its own files) and disk. An object that does not exist has a fault.
func (s *policyService) PbmQueryAssociatedProfiles(req *pbm.PbmQueryAssociatedProfiles) soap.HasFault {
	body := &pbmmethods.PbmQueryAssociatedProfilesBody{Res: &pbm.PbmQueryAssociatedProfilesResponse{}}
	for _, entity := range req.Entities {
		result := pbm.PbmQueryProfileResult{Object: entity}
		id, ok := s.associated(entity)
		switch {
		case !ok:
			result.Fault = &types.LocalizedMethodFault{Fault: invalid("entities")}
		case id != "":
			result.ProfileId = []pbm.PbmProfileId{{UniqueId: id}}
		}
		body.Res.Returnval = append(body.Res.Returnval, result)
	}
	return body
}

// associated is the policy of an object, and whether there is such an object.
func (s *policyService) associated(entity pbm.PbmServerObjectRef) (string, bool) {
	vm, disk, isDisk := strings.Cut(entity.Key, ":")
	found := s.vcenter.inventory.vm(types.ManagedObjectReference{Type: "VirtualMachine", Value: vm})
	part := ownFiles
	if isDisk {
		if _, err := fmt.Sscanf(disk, "%d", &part); err != nil {
			return "", false
		}
	}
	kinds := map[bool]pbm.PbmObjectType{false: pbm.PbmObjectTypeVirtualMachine, true: pbm.PbmObjectTypeVirtualDiskId}
	if found == nil || entity.ObjectType != string(kinds[isDisk]) {
		return "", false
	}
	if _, has := s.vcenter.storage.layout(found)[part]; !has {
		return "", false
	}
	return s.vcenter.policies.of(vm, part), true
}

// PbmCheckCompatibility says of each hub whether it fits a policy. A datastore cluster fits if all of its datastores do.
func (s *policyService) PbmCheckCompatibility(req *pbm.PbmCheckCompatibility) soap.HasFault {
	body := &pbmmethods.PbmCheckCompatibilityBody{}
	if _, known := s.vcenter.policies.byID[req.Profile.UniqueId]; !known {
		body.Fault_ = simulator.Fault("", invalid("profile"))
		return body
	}
	hubs := req.HubsToSearch
	if len(hubs) == 0 {
		for _, datastore := range all[*simulator.Datastore](s.vcenter.inventory, "Datastore") {
			hubs = append(hubs, pbm.PbmPlacementHub{HubType: "Datastore", HubId: datastore.Self.Value})
		}
	}
	body.Res = &pbm.PbmCheckCompatibilityResponse{}
	for _, hub := range hubs {
		result := pbm.PbmPlacementCompatibilityResult{Hub: hub}
		if !s.fits(req.Profile.UniqueId, hub) {
			result.Error = []types.LocalizedMethodFault{{
				Fault:            &pbm.PbmCapabilityProfilePropertyMismatchFault{},
				LocalizedMessage: "The datastore does not satisfy the storage policy.",
			}}
		}
		body.Res.Returnval = append(body.Res.Returnval, result)
	}
	return body
}

func (s *policyService) fits(id string, hub pbm.PbmPlacementHub) bool {
	policies, storage := s.vcenter.policies, s.vcenter.storage
	if hub.HubType == "StoragePod" {
		pod, ok := s.vcenter.inventory.registry.Get(types.ManagedObjectReference{Type: "StoragePod", Value: hub.HubId}).(*simulator.StoragePod)
		return ok && !slices.ContainsFunc(pod.ChildEntity, func(ref types.ManagedObjectReference) bool {
			return !policies.fits(id, storage.datastore(ref))
		})
	}
	return policies.fits(id, storage.datastore(types.ManagedObjectReference{Type: "Datastore", Value: hub.HubId}))
}
