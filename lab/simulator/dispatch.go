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
	"SetEntityPermissions", "ListProcessesInGuest",
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
			return nil, s.unwelcome(method)
		}
		if fault := s.refusal(ctx.Session.UserName, method); fault != nil {
			return nil, fault
		}
		if own || slices.Contains(overridden, method.Name) {
			method.This = receiver.Self
		}
		return nil, nil
	}
}

func (s *sddc) validLogin(req *types.Login) bool {
	return slices.ContainsFunc(s.logins(), func(login Login) bool {
		return sameUser(req.UserName, login.User) && req.Password == login.Password
	})
}

// unwelcome is the fault of a right login by a user without any permission.
func (s *sddc) unwelcome(method *simulator.Method) types.BaseMethodFault {
	login, ok := method.Body.(*types.Login)
	if !ok || !s.validLogin(login) || s.granted(login.UserName, s.rootFolder(), read) {
		return nil
	}
	root := s.rootFolder()
	return &types.NoPermission{Object: &root, PrivilegeId: read}
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
