package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// overrides gets the calls that the lab answers instead of the simulator. It holds no lock during a call.
type overrides struct {
	Self    types.ManagedObjectReference
	vcenter *vcenter
}

// Reference makes it a managed object.
func (o *overrides) Reference() types.ManagedObjectReference { return o.Self }

// Lock and Unlock keep the simulator from serialising the calls.
func (o *overrides) Lock() {}

// Unlock is the other half of Lock.
func (o *overrides) Unlock() {}

// overridden calls are methods of overrides.
var overridden = []string{
	"RelocateVM_Task", "MigrateVM_Task", "EnterMaintenanceMode_Task", "ExitMaintenanceMode_Task", "HasPrivilegeOnEntities",
	"FetchUserPrivilegeOnEntities", "AddAuthorizationRole", "SetEntityPermissions", "ListProcessesInGuest", "RetrievePropertiesEx",
	"ContinueRetrievePropertiesEx", "CreateFilter", "WaitForUpdatesEx", "RefreshRecommendation", "ApplyRecommendation",
	"QueryVMotionCompatibilityEx_Task", "CheckRelocate_Task", "CheckMigrate_Task", "AddHost_Task", "UnregisterVM", "RegisterVM_Task",
	"QueryConfigTarget", "FindByUuid", "RecommendHostsForVm", "ClusterEnterMaintenanceMode", "AddCustomFieldDef", "SetField",
	"ReconfigureCluster_Task", "GetResourceUsage",
}

// install handles every call before the simulator does: it counts the call, checks privileges, and answers some calls itself.
func (v *vcenter) install() {
	receiver := &overrides{Self: types.ManagedObjectReference{Type: "LabOverrides", Value: "lab-overrides"}, vcenter: v}
	registry := v.inventory.registry
	registry.Put(receiver)
	registry.AddHandler(&taskGuard{types.ManagedObjectReference{Type: "LabTaskGuard", Value: "lab-task-guard"}, v.tasks})
	registry.AddHandler(v.cluster)
	registry.SessionManager().ValidLogin = v.access.validLogin
	registry.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		plainEventTypes(method.Body)
		v.calls.count(method.Name)
		if ctx.Session == nil {
			return nil, v.loginFault(method)
		}
		v.sessions.note(ctx.Session.Key)
		if fault := v.access.refusal(ctx.Session.UserName, method); fault != nil {
			return nil, fault
		}
		if fault := v.faults.take(callFaults(method.Name), method.This); fault != nil {
			return nil, fault
		}
		if v.answers(method) {
			method.This = receiver.Self
		}
		return nil, nil
	}
}

// loginFault is the fault of a login without a session; nil for every other call.
func (v *vcenter) loginFault(method *simulator.Method) types.BaseMethodFault {
	if _, ok := method.Body.(*types.Login); ok {
		if fault := v.faults.take(callFaults(method.Name), method.This); fault != nil {
			return fault
		}
	}
	return v.access.withoutPermission(method)
}

// answers reports whether the lab answers a call itself.
func (v *vcenter) answers(method *simulator.Method) bool {
	switch body := method.Body.(type) {
	case *types.CancelTask:
		return v.tasks.find(method.This) != nil
	case *types.Destroy_Task:
		return v.inventory.host(method.This) != nil
	case *types.PlaceVm:
		return body.PlacementSpec.PlacementType == string(types.PlacementSpecPlacementTypeRelocate)
	case *types.RecommendDatastores:
		return body.StorageSpec.Type == string(types.StoragePlacementSpecPlacementTypeRelocate)
	case *types.Rename_Task:
		body.NewName = escaped(body.NewName)
	case *types.ReconfigureComputeResource_Task:
		return v.cluster.answers(body)
	}
	return slices.Contains(overridden, method.Name)
}

// CancelTask ends a task of the lab unless the task is past its point of no return.
func (o *overrides) CancelTask(_ *simulator.Context, req *types.CancelTask) soap.HasFault {
	body := &methods.CancelTaskBody{}
	operation := o.vcenter.tasks.find(req.This)
	if operation == nil || !operation.requestCancel() {
		body.Fault_ = simulator.Fault("", &types.InvalidState{})
		return body
	}
	body.Res = &types.CancelTaskResponse{}
	return body
}
