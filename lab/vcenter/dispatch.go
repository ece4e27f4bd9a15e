package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// overrides receives the calls that the lab answers instead of the simulator. It takes no lock while it works.
type overrides struct {
	Self types.ManagedObjectReference
	*sddc
}

// Reference makes it a managed object.
func (o *overrides) Reference() types.ManagedObjectReference { return o.Self }

// Lock and Unlock keep the simulator from serialising the calls.
func (o *overrides) Lock() {}

// Unlock belongs to Lock.
func (o *overrides) Unlock() {}

var overridden = []string{
	"RelocateVM_Task", "MigrateVM_Task", "EnterMaintenanceMode_Task", "ExitMaintenanceMode_Task", "HasPrivilegeOnEntities",
}

// privileges of the calls that the restricted user (a model of CloudAdmin) may not make.
var forbidden = map[string]string{
	"EnterMaintenanceMode_Task":       "Host.Config.Maintenance",
	"ExitMaintenanceMode_Task":        "Host.Config.Maintenance",
	"DisconnectHost_Task":             "Host.Config.Connection",
	"ReconnectHost_Task":              "Host.Config.Connection",
	"ReconfigureComputeResource_Task": "Host.Inventory.EditCluster",
	"AddCustomFieldDef":               "Global.ManageCustomFields",
	"RemoveCustomFieldDef":            "Global.ManageCustomFields",
	"SetField":                        "Global.SetCustomField",
	"SetCustomValue":                  "Global.SetCustomField",
	"ReconfigVM_Task":                 "VirtualMachine.Config.AdvancedConfig",
	"PowerOffVM_Task":                 "VirtualMachine.Interact.PowerOff",
	"Destroy_Task":                    "VirtualMachine.Inventory.Delete",
	"SetEntityPermissions":            "Authorization.ModifyPermissions",
	"UpdateOptions":                   "Global.Settings",
}

func (s *sddc) install() {
	receiver := &overrides{Self: types.ManagedObjectReference{Type: "LabOverrides", Value: "lab-overrides"}, sddc: s}
	s.registry.Put(receiver)
	s.registry.SessionManager().ValidLogin = s.validLogin
	s.registry.Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		plainEventTypes(method.Body)
		s.mu.Lock()
		s.calls[method.Name]++
		own := method.Name == "CancelTask" && s.tasks[method.This] != nil
		if ctx.Session != nil {
			s.sessions[ctx.Session.Key] = true
		}
		s.mu.Unlock()
		if ctx.Session == nil {
			return nil, nil
		}
		if privilege, ok := forbidden[method.Name]; ok && ctx.Session.UserName == s.config.Restricted.User {
			return nil, &types.NoPermission{Object: &method.This, PrivilegeId: privilege}
		}
		if own || slices.Contains(overridden, method.Name) {
			method.This = receiver.Self
		}
		return nil, nil
	}
}

func (s *sddc) validLogin(req *types.Login) bool {
	for _, login := range []Login{s.config.VCenter, s.config.Restricted} {
		if login.User != "" && req.UserName == login.User {
			return req.Password == login.Password
		}
	}
	return false
}

// CancelTask ends a lab task unless it is past its point of no return.
func (o *overrides) CancelTask(_ *simulator.Context, req *types.CancelTask) soap.HasFault {
	body := &methods.CancelTaskBody{}
	o.mu.Lock()
	operation := o.tasks[req.This]
	o.mu.Unlock()
	if operation == nil || !operation.requestCancel() {
		body.Fault_ = simulator.Fault("", &types.InvalidState{})
		return body
	}
	body.Res = &types.CancelTaskResponse{}
	return body
}

// HasPrivilegeOnEntities answers by role.
func (o *overrides) HasPrivilegeOnEntities(ctx *simulator.Context, req *types.HasPrivilegeOnEntities) soap.HasFault {
	var answer []types.EntityPrivilege
	for _, entity := range req.Entity {
		privilege := types.EntityPrivilege{Entity: entity}
		for _, id := range req.PrivId {
			privilege.PrivAvailability = append(privilege.PrivAvailability, types.PrivilegeAvailability{
				PrivId: id, IsGranted: ctx.Session.UserName != o.config.Restricted.User || !isForbidden(id),
			})
		}
		answer = append(answer, privilege)
	}
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: answer}}
}

func isForbidden(privilege string) bool {
	for _, id := range forbidden {
		if id == privilege {
			return true
		}
	}
	return false
}
