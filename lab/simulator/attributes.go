package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ofText is the type of the values of every custom attribute.
const ofText = "xsd:string"

// AddCustomFieldDef adds a custom attribute.
func (o *overrides) AddCustomFieldDef(ctx *simulator.Context, req *types.AddCustomFieldDef) soap.HasFault {
	manager := ctx.Map.CustomFieldsManager()
	var res soap.HasFault
	ctx.WithLock(manager, func() { res = addAttribute(ctx, manager, req) })
	return res
}

// addAttribute adds a custom attribute; the caller holds the lock of the manager. The simulator takes the kind of the objects
// for the type of the values: clients that need a type then fail at every object that may have an attribute of all kinds.
func addAttribute(ctx *simulator.Context, manager *simulator.CustomFieldsManager, req *types.AddCustomFieldDef) soap.HasFault {
	body := manager.AddCustomFieldDef(ctx, req).(*methods.AddCustomFieldDefBody)
	if body.Res == nil {
		return body
	}
	key := body.Res.Returnval.Key
	body.Res.Returnval.Type = ofText
	ofTexts(manager.Field, key)
	for _, each := range ctx.Map.All(req.MoType) {
		ctx.WithLock(each, func() { ofTexts(each.Entity().AvailableField, key) })
	}
	return body
}

func ofTexts(fields []types.CustomFieldDef, key int32) {
	for i := range fields {
		if fields[i].Key == key {
			fields[i].Type = ofText
		}
	}
}

// SetField sets a custom attribute of an object that may have it.
func (o *overrides) SetField(ctx *simulator.Context, req *types.SetField) soap.HasFault {
	manager := ctx.Map.CustomFieldsManager()
	var res soap.HasFault
	ctx.WithLock(manager, func() {
		for _, field := range manager.Field {
			if field.Key == req.Key && field.ManagedObjectType != "" && field.ManagedObjectType != req.Entity.Type {
				res = &methods.SetFieldBody{Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "key"})}
				return
			}
		}
		res = manager.SetField(ctx, req)
	})
	return res
}
