package main

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const read = "System.View"

// required is the privilege of each call that users other than the administrator may make; any other call fails for users
// with a role. The privileges are those of the API's own metadata if that names one (a test compares them).
var required = map[string]string{
	"RelocateVM_Task":                 "Resource.ColdMigrate",
	"MigrateVM_Task":                  "Resource.HotMigrate",
	"EnterMaintenanceMode_Task":       "Host.Config.Maintenance",
	"ExitMaintenanceMode_Task":        "Host.Config.Maintenance",
	"DisconnectHost_Task":             "Host.Config.Connection",
	"ReconnectHost_Task":              "Host.Config.Connection",
	"ReconfigureComputeResource_Task": "Host.Inventory.EditCluster",
	"ReconfigureCluster_Task":         "Host.Inventory.EditCluster",
	"RefreshRecommendation":           "Host.Inventory.EditCluster",
	"ApplyRecommendation":             "Resource.ApplyRecommendation",
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
	"FetchUserPrivilegeOnEntities":    read,
	"RetrieveEntityPermissions":       read,
	"QueryEvents":                     read,
	"CreateCollectorForEvents":        read,
	"ReadNextEvents":                  read,
	"DestroyCollector":                read,
	"CancelTask":                      read,
	"FindByUuid":                      read,
	"QueryConfigTarget":               read,

	"PbmRetrieveServiceContent":  "System.Anonymous",
	"PbmQueryProfile":            "StorageProfile.View",
	"PbmRetrieveContent":         "StorageProfile.View",
	"PbmQueryAssociatedProfiles": "StorageProfile.View",
	"PbmCheckCompatibility":      "StorageProfile.View",

	"QueryVMotionCompatibilityEx_Task": read,
	"CheckRelocate_Task":               read,
	"CheckMigrate_Task":                read,
	"RecommendHostsForVm":              read,
	"GetResourceUsage":                 read,
	"PlaceVm":                          read,
	"ClusterEnterMaintenanceMode":      read,
	"RecommendDatastores":              read,
}

// withheld are the privileges that the restricted user does not have, as CloudAdmin of VMware Cloud on AWS.
var withheld = []string{
	"Host.Config.Maintenance", "Host.Config.Connection", "Host.Inventory.EditCluster", "Global.ManageCustomFields",
	"Global.SetCustomField", "Global.Settings", "VirtualMachine.Config.AdvancedConfig", "VirtualMachine.Interact.PowerOff",
	"VirtualMachine.Inventory.Delete", "Authorization.ModifyPermissions", "Authorization.ModifyRoles",
}

// access decides who may call what: logins, roles and permissions.
type access struct {
	inventory *inventory
	config    *Config

	mu       sync.Mutex
	demanded map[string]map[string]bool // user -> privileges that their calls required
}

func newAccess(inventory *inventory, config *Config) *access {
	return &access{inventory: inventory, config: config, demanded: map[string]map[string]bool{}}
}

// need is one privilege that a call requires on one object.
type need struct {
	on        types.ManagedObjectReference
	privilege string
}

// needs are the privileges of a call. A live move requires more than the metadata names (vSphere's "Required Privileges for
// Common Tasks").
func (a *access) needs(method *simulator.Method) []need {
	privilege, ok := required[method.Name]
	if !ok {
		return []need{{method.This, "unknown to the lab: " + method.Name}}
	}
	found := []need{{method.This, privilege}}
	switch body := method.Body.(type) {
	case *types.RelocateVM_Task:
		if vm := a.inventory.vm(body.This); vm != nil && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			found = append(found, need{body.This, "Resource.HotMigrate"})
		}
		if body.Spec.Service == nil { // otherwise the places are in another vCenter, where another user needs more
			found = append(found, placeNeeds(body.Spec)...)
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

// placeNeeds are the privileges on the places that a relocation names.
func placeNeeds(spec types.VirtualMachineRelocateSpec) []need {
	var found []need
	for _, each := range []struct {
		on        *types.ManagedObjectReference
		privilege string
	}{
		{spec.Host, "Resource.AssignVMToPool"}, {spec.Pool, "Resource.AssignVMToPool"},
		{spec.Folder, "VirtualMachine.Inventory.Move"}, {spec.Datastore, "Datastore.AllocateSpace"},
	} {
		if each.on != nil {
			found = append(found, need{*each.on, each.privilege})
		}
	}
	for _, disk := range spec.Disk {
		found = append(found, need{disk.Datastore, "Datastore.AllocateSpace"})
	}
	for _, change := range spec.DeviceChange {
		card, ok := change.GetVirtualDeviceConfigSpec().Device.(types.BaseVirtualEthernetCard)
		if !ok {
			continue
		}
		backing, ok := card.GetVirtualEthernetCard().Backing.(*types.VirtualEthernetCardNetworkBackingInfo)
		if ok && backing.Network != nil {
			found = append(found, need{*backing.Network, "Network.Assign"})
		}
	}
	return found
}

// refusal is the fault of a call that the user may not make; nil when they may.
func (a *access) refusal(user string, method *simulator.Method) types.BaseMethodFault {
	if sameUser(user, a.config.VCenter.User) {
		return nil
	}
	restricted := sameUser(user, a.config.Restricted.User)
	if _, known := required[method.Name]; restricted && !known {
		return nil
	}
	return a.missing(user, a.needs(method), func(ref types.ManagedObjectReference) types.ManagedObjectReference { return ref })
}

// lacking is the fault of missing privileges. Since vSphere 8 it lists all of them, and privilegeId is not set.
func lacking(missing ...types.NoPermissionEntityPrivileges) types.BaseMethodFault {
	return &types.NoPermission{MissingPrivileges: missing}
}

// missing is the fault of the privileges that a user lacks; nil if there are none. The fault names each object as seen says.
func (a *access) missing(
	user string, needs []need, seen func(types.ManagedObjectReference) types.ManagedObjectReference,
) types.BaseMethodFault {
	var missing []types.NoPermissionEntityPrivileges
	for _, need := range needs {
		a.note(user, need.privilege)
		if !a.granted(user, need.on, need.privilege) {
			missing = append(missing, types.NoPermissionEntityPrivileges{Entity: seen(need.on), PrivilegeIds: []string{need.privilege}})
		}
	}
	if missing == nil {
		return nil
	}
	return lacking(missing...)
}

func (a *access) note(user, privilege string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.demanded[user] == nil {
		a.demanded[user] = map[string]bool{}
	}
	a.demanded[user][privilege] = true
}

// granted reports whether the user has a privilege on an object: by who they are, or by the role nearest to the object.
func (a *access) granted(user string, on types.ManagedObjectReference, privilege string) bool {
	switch {
	case sameUser(user, a.config.VCenter.User):
		return true
	case sameUser(user, a.config.Restricted.User):
		return !slices.Contains(withheld, privilege)
	}
	return slices.Contains(a.privileges(user, on), privilege)
}

func (a *access) authorization() *simulator.AuthorizationManager {
	return a.inventory.registry.Get(*a.inventory.content().AuthorizationManager).(*simulator.AuthorizationManager)
}

// privileges are those of the user's role on the object, or on the nearest object above it. A VM inherits from its folder and
// from its resource pool. A manager counts as the root; it can be read with a permission on any object.
func (a *access) privileges(user string, on types.ManagedObjectReference) []string {
	found := a.nearest(user, on)
	if vm := a.inventory.vm(on); vm != nil && vm.ResourcePool != nil {
		found = append(found, a.nearest(user, *vm.ResourcePool)...)
	}
	if _, ok := a.inventory.registry.Get(on).(mo.Entity); (!ok || on == a.inventory.rootFolder()) && a.hasPermission(user) {
		found = append(found, "System.Anonymous", read)
	}
	return found
}

func (a *access) hasPermission(user string) bool {
	ctx, manager := a.inventory.as(""), a.authorization()
	var all []types.Permission
	ctx.WithLock(manager, func() {
		body := manager.RetrieveAllPermissions(&types.RetrieveAllPermissions{})
		all = slices.Clone(body.(*methods.RetrieveAllPermissionsBody).Res.Returnval)
	})
	return slices.ContainsFunc(all, func(permission types.Permission) bool { return a.isFor(permission, user) })
}

// isFor reports whether a permission is given to a user, or to a group of theirs.
func (a *access) isFor(permission types.Permission, user string) bool {
	if !permission.Group {
		return sameUser(permission.Principal, user)
	}
	return slices.ContainsFunc(a.logins(), func(login Login) bool {
		return sameUser(login.User, user) && isOneOf(permission.Principal, login.Groups)
	})
}

func isOneOf(group string, groups []string) bool {
	return slices.ContainsFunc(groups, func(other string) bool { return sameUser(group, other) })
}

func (a *access) nearest(user string, on types.ManagedObjectReference) []string {
	entity, ok := a.inventory.registry.Get(on).(mo.Entity)
	if !ok {
		entity = a.inventory.registry.Get(a.inventory.rootFolder()).(mo.Entity)
	}
	for here := true; ; here = false {
		// A permission of the user themselves is stronger than those of their groups, which add up.
		var own, ofGroups []types.Permission
		for _, permission := range a.permissions(entity.Reference()) {
			switch {
			case !a.isFor(permission, user) || !here && !permission.Propagate:
			case permission.Group:
				ofGroups = append(ofGroups, permission)
			default:
				own = append(own, permission)
			}
		}
		if own == nil {
			own = ofGroups
		}
		if own != nil {
			var privileges []string
			for _, permission := range own {
				privileges = append(privileges, a.role(permission.RoleId)...)
			}
			return privileges
		}
		parent := entity.Entity().Parent
		if parent == nil {
			return nil
		}
		if entity, ok = a.inventory.registry.Get(*parent).(mo.Entity); !ok {
			return nil
		}
	}
}

func (a *access) permissions(on types.ManagedObjectReference) []types.Permission {
	if _, ok := a.inventory.registry.Get(on).(mo.Entity); !ok {
		return nil
	}
	ctx, manager := a.inventory.as(""), a.authorization()
	var found []types.Permission
	ctx.WithLock(manager, func() {
		body := manager.RetrieveEntityPermissions(ctx, &types.RetrieveEntityPermissions{Entity: on})
		found = slices.Clone(body.(*methods.RetrieveEntityPermissionsBody).Res.Returnval)
	})
	return found
}

func (a *access) role(id int32) []string {
	ctx, manager := a.inventory.as(""), a.authorization()
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

// HasPrivilegeOnEntities answers by the caller's role.
func (o *overrides) HasPrivilegeOnEntities(ctx *simulator.Context, req *types.HasPrivilegeOnEntities) soap.HasFault {
	var answer []types.EntityPrivilege
	for _, entity := range req.Entity {
		privilege := types.EntityPrivilege{Entity: entity}
		for _, id := range req.PrivId {
			privilege.PrivAvailability = append(privilege.PrivAvailability, types.PrivilegeAvailability{
				PrivId: id, IsGranted: o.vcenter.access.granted(ctx.Session.UserName, entity, id),
			})
		}
		answer = append(answer, privilege)
	}
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: answer}}
}

// FetchUserPrivilegeOnEntities answers with all privileges of a user, wherever they come from.
func (o *overrides) FetchUserPrivilegeOnEntities(_ *simulator.Context, req *types.FetchUserPrivilegeOnEntities) soap.HasFault {
	body := &methods.FetchUserPrivilegeOnEntitiesBody{}
	if !o.vcenter.access.isUser(req.UserName) {
		body.Fault_ = simulator.Fault("", &types.UserNotFound{Principal: req.UserName})
		return body
	}
	var answer []types.UserPrivilegeResult
	for _, entity := range req.Entities {
		answer = append(answer, types.UserPrivilegeResult{
			Entity: entity, Privileges: o.vcenter.access.privileges(req.UserName, entity),
		})
	}
	body.Res = &types.FetchUserPrivilegeOnEntitiesResponse{Returnval: answer}
	return body
}

// SetEntityPermissions adds or replaces the permissions of the named users and groups; the simulator would drop all others.
func (o *overrides) SetEntityPermissions(ctx *simulator.Context, req *types.SetEntityPermissions) soap.HasFault {
	body := &methods.SetEntityPermissionsBody{}
	if _, ok := o.vcenter.inventory.registry.Get(req.Entity).(mo.Entity); !ok {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.Entity})
		return body
	}
	access := o.vcenter.access
	merged := access.permissions(req.Entity)
	for _, permission := range req.Permission {
		if !access.isPrincipal(permission) {
			body.Fault_ = simulator.Fault("", &types.UserNotFound{Principal: permission.Principal})
			return body
		}
		permission.Entity = &req.Entity
		merged = slices.DeleteFunc(merged, func(old types.Permission) bool {
			return old.Group == permission.Group && sameUser(old.Principal, permission.Principal)
		})
		merged = append(merged, permission)
	}
	manager := access.authorization()
	ctx.WithLock(manager, func() {
		manager.SetEntityPermissions(&types.SetEntityPermissions{Entity: req.Entity, Permission: merged})
	})
	body.Res = &types.SetEntityPermissionsResponse{}
	return body
}

// AddAuthorizationRole returns the ID of the new role; the simulator returns none.
func (o *overrides) AddAuthorizationRole(ctx *simulator.Context, req *types.AddAuthorizationRole) soap.HasFault {
	manager := o.vcenter.access.authorization()
	var answer soap.HasFault
	ctx.WithLock(manager, func() {
		answer = manager.AddAuthorizationRole(req)
		if body := answer.(*methods.AddAuthorizationRoleBody); body.Res != nil {
			body.Res.Returnval = manager.RoleList[len(manager.RoleList)-1].RoleId
		}
	})
	return answer
}

func (a *access) validLogin(req *types.Login) bool {
	return slices.ContainsFunc(a.logins(), func(login Login) bool {
		return sameUser(req.UserName, login.User) && req.Password == login.Password
	})
}

// withoutPermission is the fault of a correct login by a user who has no permission at all; nil for every other call.
func (a *access) withoutPermission(method *simulator.Method) types.BaseMethodFault {
	login, ok := method.Body.(*types.Login)
	if !ok || !a.validLogin(login) {
		return nil
	}
	return a.loginFault(login)
}

// loginFault is the fault of a login; nil if it succeeds.
func (a *access) loginFault(login *types.Login) types.BaseMethodFault {
	root := a.inventory.rootFolder()
	switch {
	case !a.validLogin(login):
		return &types.InvalidLogin{}
	case !a.granted(login.UserName, root, read):
		return lacking(types.NoPermissionEntityPrivileges{Entity: root, PrivilegeIds: []string{read}})
	}
	return nil
}

// demandedPrivileges are the privileges that calls have required so far, by user.
func (a *access) demandedPrivileges() map[string][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := map[string][]string{}
	for user, privileges := range a.demanded {
		answer[user] = slices.Sorted(maps.Keys(privileges))
	}
	return answer
}

func (a *access) isUser(principal string) bool {
	return slices.ContainsFunc(a.logins(), func(login Login) bool { return sameUser(login.User, principal) })
}

// isPrincipal reports whether there is the user or group of a permission.
func (a *access) isPrincipal(permission types.Permission) bool {
	if !permission.Group {
		return a.isUser(permission.Principal)
	}
	return slices.ContainsFunc(a.logins(), func(login Login) bool { return isOneOf(permission.Principal, login.Groups) })
}

func (a *access) logins() []Login {
	return slices.DeleteFunc([]Login{a.config.VCenter, a.config.Restricted, a.config.Operator}, func(login Login) bool {
		return login.User == ""
	})
}

// sameUser compares two spellings of a user: `DOMAIN\name` in permissions, `name@domain` at the login.
func sameUser(one, other string) bool { return plain(one) == plain(other) }

func plain(user string) string {
	if domain, name, ok := strings.Cut(user, `\`); ok {
		user = name + "@" + domain
	}
	return strings.ToLower(user)
}
