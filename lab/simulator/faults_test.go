package main

import (
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

func TestFaultsOfAVMAreTakenInOrder(t *testing.T) {
	task := types.ManagedObjectReference{Type: "Task", Value: "task-1"}
	q := newFaultQueue()
	q.add("vm-1", "TaskInProgress", 1)
	q.add("vm-1", "NoPermission", 2)
	if fault := q.take("vm-2", task); fault != nil {
		t.Errorf("another VM fails with %s", faultName(fault))
	}
	for _, want := range []string{"TaskInProgress", "NoPermission", "NoPermission"} {
		if fault := q.take("vm-1", task); fault == nil || faultName(fault) != want {
			t.Errorf("the fault is %v, not %s", fault, want)
		}
	}
	if fault := q.take("vm-1", task); fault != nil {
		t.Errorf("more faults than were queued: %s", faultName(fault))
	}
}

func TestAFaultRefersToWhatItIsAbout(t *testing.T) {
	task := types.ManagedObjectReference{Type: "Task", Value: "task-1"}
	if fault := newFault("TaskInProgress", task).(*types.TaskInProgress); fault.Task != task {
		t.Errorf("the fault refers to %v, not %v", fault.Task, task)
	}
	for _, name := range []string{"", "NoSuchFault", "ManagedObjectReference"} {
		if newFault(name, task) != nil {
			t.Errorf("%q is taken for a fault class", name)
		}
	}
}
