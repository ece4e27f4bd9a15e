package main

import (
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const read = "System.View"

// required is the privilege of each call that somebody else than the administrator may make; a call that is not here is
// refused to users with a role. From the API's own metadata (a test compares), where that names one.
var required = map[string]string{
	"RelocateVM_Task":                 "Resource.ColdMigrate",
	"MigrateVM_Task":                  "Resource.HotMigrate",
	"EnterMaintenanceMode_Task":       "Host.Config.Maintenance",
	"ExitMaintenanceMode_Task":        "Host.Config.Maintenance",
	"DisconnectHost_Task":             "Host.Config.Connection",
	"ReconnectHost_Task":              "Host.Config.Connection",
	"ReconfigureComputeResource_Task": "Host.Inventory.EditCluster",
	"AddCustomFieldDef":               "Global.ManageCustomFields",
	"RemoveCustomFieldDef":            "Global.ManageCustomFields",
	"RenameCustomFieldDef":            "Global.ManageCustomFields",
	"SetField":                        "Global.SetCustomField",
	"SetCustomValue":                  "Global.SetCustomField",
	"ReconfigVM_Task":                 "VirtualMachine.Config.AdvancedConfig",
	"PowerOnVM_Task":                  "VirtualMachine.Interact.PowerOn",
	"PowerOffVM_Task":                 "VirtualMachine.Interact.PowerOff",
	"Destroy_Task":                    "VirtualMachine.Inventory.Delete",
	"AddAuthorizationRole":            "Authorization.ModifyRoles",
	"UpdateAuthorizationRole":         "Authorization.ModifyRoles",
	"RemoveAuthorizationRole":         "Authorization.ModifyRoles",
	"SetEntityPermissions":            "Authorization.ModifyPermissions",
	"RemoveEntityPermission":          "Authorization.ModifyPermissions",
	"UpdateOptions":                   "Global.Settings",
	"PostEvent":                       "Global.LogEvent",
	"ListProcessesInGuest":            "VirtualMachine.GuestOperations.Query",
	"Login":                           "System.Anonymous",
	"Logout":                          read,
	"CurrentTime":                     read,
	"RetrieveServiceContent":          read,
	"CreateContainerView":             read,
	"DestroyView":                     read,
	"CreatePropertyCollector":         read,
	"DestroyPropertyCollector":        read,
	"CreateFilter":                    read,
	"DestroyPropertyFilter":           read,
	"WaitForUpdatesEx":                read,
	"CancelWaitForUpdates":            read,
	"Fetch":                           read,
	"RetrieveProperties":              read,
	"RetrievePropertiesEx":            read,
	"ContinueRetrievePropertiesEx":    read,
	"CancelRetrievePropertiesEx":      read,
	"HasPrivilegeOnEntities":          read,
	"RetrieveEntityPermissions":       read,
	"QueryEvents":                     read,
	"CreateCollectorForEvents":        read,
	"ReadNextEvents":                  read,
	"DestroyCollector":                read,
	"CancelTask":                      read,
}

// withheld from the restricted user, a model of VMware Cloud on AWS' CloudAdmin.
var withheld = []string{
	"Host.Config.Maintenance", "Host.Config.Connection", "Host.Inventory.EditCluster", "Global.ManageCustomFields",
	"Global.SetCustomField", "Global.Settings", "VirtualMachine.Config.AdvancedConfig", "VirtualMachine.Interact.PowerOff",
	"VirtualMachine.Inventory.Delete", "Authorization.ModifyPermissions", "Authorization.ModifyRoles",
}

// need is a privilege that a call demands on an object.
type need struct {
	on        types.ManagedObjectReference
	privilege string
}

// needs of a call. A live move demands more than the metadata names (vSphere's "Required Privileges for Common Tasks").
func (s *sddc) needs(method *simulator.Method) []need {
	privilege, ok := required[method.Name]
	if !ok {
		return []need{{method.This, "unknown to the lab: " + method.Name}}
	}
	found := []need{{method.This, privilege}}
	switch body := method.Body.(type) {
	case *types.RelocateVM_Task:
		if vm := s.vm(body.This); vm != nil && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			found = append(found, need{body.This, "Resource.HotMigrate"})
		}
		for _, target := range []*types.ManagedObjectReference{body.Spec.Host, body.Spec.Pool} {
			if target != nil {
				found = append(found, need{*target, "Resource.AssignVMToPool"})
			}
		}
	case *types.SetField:
		found[0].on = body.Entity
	case *types.SetEntityPermissions:
		found[0].on = body.Entity
	case *types.ListProcessesInGuest:
		found[0].on = body.Vm
	}
	return found
}

// refusal is the fault of a call that the user may not make, nil when he may.
func (s *sddc) refusal(user string, method *simulator.Method) types.BaseMethodFault {
	if sameUser(user, s.config.VCenter.User) {
		return nil
	}
	restricted := sameUser(user, s.config.Restricted.User)
	if _, known := required[method.Name]; restricted && !known {
		return nil
	}
	for _, need := range s.needs(method) {
		s.note(user, need.privilege)
		if !s.granted(user, need.on, need.privilege) {
			return &types.NoPermission{Object: &need.on, PrivilegeId: need.privilege}
		}
	}
	return nil
}

func (s *sddc) note(user, privilege string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.demanded[user] == nil {
		s.demanded[user] = map[string]bool{}
	}
	s.demanded[user][privilege] = true
}

// granted reports whether the user has a privilege on an object: by who he is, or by the role nearest to the object.
func (s *sddc) granted(user string, on types.ManagedObjectReference, privilege string) bool {
	switch {
	case sameUser(user, s.config.VCenter.User):
		return true
	case sameUser(user, s.config.Restricted.User):
		return !slices.Contains(withheld, privilege)
	}
	return slices.Contains(s.privileges(user, on), privilege)
}

func (s *sddc) authorization() *simulator.AuthorizationManager {
	return s.registry.Get(*s.content().AuthorizationManager).(*simulator.AuthorizationManager)
}

// privileges of the user's role on an object or the nearest object above it; managers stand at the root.
func (s *sddc) privileges(user string, on types.ManagedObjectReference) []string {
	entity, ok := s.registry.Get(on).(mo.Entity)
	if !ok {
		entity = s.registry.Get(s.rootFolder()).(mo.Entity)
	}
	for here := true; ; here = false {
		for _, permission := range s.permissions(entity.Reference()) {
			if sameUser(permission.Principal, user) && !permission.Group && (here || permission.Propagate) {
				return s.role(permission.RoleId)
			}
		}
		parent := entity.Entity().Parent
		if parent == nil {
			return nil
		}
		entity = s.registry.Get(*parent).(mo.Entity)
	}
}

func (s *sddc) content() *types.ServiceContent {
	instance := s.registry.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"})
	return &instance.(*simulator.ServiceInstance).Content
}

func (s *sddc) rootFolder() types.ManagedObjectReference { return s.content().RootFolder }

func (s *sddc) permissions(on types.ManagedObjectReference) []types.Permission {
	ctx, manager := s.context(""), s.authorization()
	var found []types.Permission
	ctx.WithLock(manager, func() {
		body := manager.RetrieveEntityPermissions(ctx, &types.RetrieveEntityPermissions{Entity: on})
		found = slices.Clone(body.(*methods.RetrieveEntityPermissionsBody).Res.Returnval)
	})
	return found
}

func (s *sddc) role(id int32) []string {
	ctx, manager := s.context(""), s.authorization()
	var privileges []string
	ctx.WithLock(manager, func() {
		for _, role := range manager.RoleList {
			if role.RoleId == id {
				privileges = slices.Clone(role.Privilege)
			}
		}
	})
	return privileges
}

// HasPrivilegeOnEntities answers by role.
func (o *overrides) HasPrivilegeOnEntities(ctx *simulator.Context, req *types.HasPrivilegeOnEntities) soap.HasFault {
	var answer []types.EntityPrivilege
	for _, entity := range req.Entity {
		privilege := types.EntityPrivilege{Entity: entity}
		for _, id := range req.PrivId {
			privilege.PrivAvailability = append(privilege.PrivAvailability, types.PrivilegeAvailability{
				PrivId: id, IsGranted: o.granted(ctx.Session.UserName, entity, id),
			})
		}
		answer = append(answer, privilege)
	}
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: answer}}
}

// SetEntityPermissions adds or replaces the permissions of the users named, where the simulator forgets all others.
func (o *overrides) SetEntityPermissions(ctx *simulator.Context, req *types.SetEntityPermissions) soap.HasFault {
	body := &methods.SetEntityPermissionsBody{Res: &types.SetEntityPermissionsResponse{}}
	merged := o.permissions(req.Entity)
	for _, permission := range req.Permission {
		if permission.Group || !o.isUser(permission.Principal) {
			body.Fault_ = simulator.Fault("", &types.UserNotFound{Principal: permission.Principal})
			return body
		}
		permission.Entity = &req.Entity
		merged = slices.DeleteFunc(merged, func(old types.Permission) bool {
			return !old.Group && sameUser(old.Principal, permission.Principal)
		})
		merged = append(merged, permission)
	}
	manager := o.authorization()
	ctx.WithLock(manager, func() {
		manager.SetEntityPermissions(&types.SetEntityPermissions{Entity: req.Entity, Permission: merged})
	})
	return body
}

func (s *sddc) isUser(principal string) bool {
	return slices.ContainsFunc(s.logins(), func(login Login) bool { return sameUser(login.User, principal) })
}

func (s *sddc) logins() []Login {
	return slices.DeleteFunc([]Login{s.config.VCenter, s.config.Restricted, s.config.Operator}, func(login Login) bool {
		return login.User == ""
	})
}

// sameUser compares `DOMAIN\name`, as permissions have it, with `name@domain`, as people log in.
func sameUser(one, other string) bool { return plain(one) == plain(other) }

func plain(user string) string {
	if domain, name, ok := strings.Cut(user, `\`); ok {
		user = name + "@" + domain
	}
	return strings.ToLower(user)
}
