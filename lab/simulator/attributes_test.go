package main

import (
	"testing"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func TestAttributesAreTextsAndOnlyOfTheirKindOfObjects(t *testing.T) {
	here, _ := two(t, nil)
	calls, ctx := &overrides{vcenter: here}, here.inventory.as("admin")
	vm := here.inventory.vms()[0]
	add := func(name, kind string) int32 {
		body := calls.AddCustomFieldDef(ctx, &types.AddCustomFieldDef{Name: name, MoType: kind}).(*methods.AddCustomFieldDefBody)
		if body.Res == nil {
			t.Fatalf("%s: %v", name, body.Fault())
		}
		return body.Res.Returnval.Key
	}
	ofAll, ofHosts := add("of-all", ""), add("of-hosts", "HostSystem")
	known := map[int32]bool{}
	for _, field := range vm.AvailableField {
		known[field.Key] = field.Type == ofText
	}
	if !known[ofAll] {
		t.Errorf("the VM's attributes are %v", vm.AvailableField)
	}
	set := func(key int32) bool {
		return calls.SetField(ctx, &types.SetField{Entity: vm.Self, Key: key, Value: "x"}).Fault() == nil
	}
	if !set(ofAll) {
		t.Error("a VM may not have an attribute of all objects")
	}
	if set(ofHosts) {
		t.Error("a VM got an attribute of hosts")
	}
}
