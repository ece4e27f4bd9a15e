package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const moment = 50 * time.Millisecond

// taskEnds waits for the end of a task, and returns its fault class or "".
func (v *vcenter) taskEnds(t *testing.T, ref types.ManagedObjectReference) string {
	t.Helper()
	task := v.inventory.registry.Get(ref).(*simulator.Task)
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var info types.TaskInfo
		v.inventory.as("").WithLock(task, func() { info = task.Info })
		switch info.State {
		case types.TaskInfoStateSuccess:
			return ""
		case types.TaskInfoStateError:
			return faultName(info.Error.Fault)
		}
	}
	t.Fatalf("%s does not end", task.Info.Name)
	return ""
}

func TestWhatBefallsAHostThatEntersMaintenanceMode(t *testing.T) {
	for _, each := range []struct {
		trouble trouble
		fault   string
	}{
		{trouble{how: slow, after: moment}, ""},
		{trouble{how: fails, after: moment, fault: "Timedout"}, "Timedout"},
		{trouble{how: cancelled, after: moment}, "RequestCanceled"},
	} {
		v := smallVCenter(t)
		host := v.inventory.findHost("esx-01")
		v.inventory.remove(v.inventory.as(""), v.inventory.findVM("vm-01")) // nothing else keeps the host from maintenance mode
		v.tasks.troubles.add("EnterMaintenanceMode_Task", each.trouble, 1)
		begun := time.Now()
		ref, fault := v.maintenance.enter("somebody", host.Self, 0)
		if fault != nil {
			t.Fatalf("%s: the call fails with %s", each.trouble.how, faultName(fault))
		}
		if !v.maintenance.isEntering(host.Self.Value) {
			t.Errorf("%s: the host is not entering while the task runs", each.trouble.how)
		}
		if end := v.taskEnds(t, ref); end != each.fault || time.Since(begun) < moment {
			t.Errorf("%s: the task ends with %q after %s", each.trouble.how, end, time.Since(begun))
		}
		if in := host.Runtime.InMaintenanceMode; in != (each.fault == "") || v.maintenance.isEntering(host.Self.Value) {
			t.Errorf("%s: the host is in maintenance mode: %t", each.trouble.how, in)
		}
		if again, _ := v.maintenance.enter("somebody", host.Self, 0); each.fault != "" && v.taskEnds(t, again) != "" {
			t.Errorf("%s: it befalls the next task, too", each.trouble.how)
		}
	}
}

func TestASlowChangeOfAClusterIsCarriedOutBeforeTheNextOne(t *testing.T) {
	v := smallVCenter(t)
	cluster, vm := v.inventory.clusters[0], v.inventory.findVM("vm-01").Self
	receiver := &overrides{vcenter: v}
	change := func(how types.ArrayUpdateOperation, enabled bool) types.ManagedObjectReference {
		spec := &types.ClusterConfigSpecEx{DrsVmConfigSpec: []types.ClusterDrsVmConfigSpec{{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: how},
			Info:            &types.ClusterDrsVmConfigInfo{Key: vm, Enabled: types.NewBool(enabled)},
		}}}
		return receiver.reconfigure(v.inventory.as("somebody"), cluster.Self, "ReconfigureComputeResource_Task", "reconfigureEx", spec, true)
	}
	v.tasks.troubles.add("ReconfigureComputeResource_Task", trouble{how: slow, after: 4 * moment}, 1)
	first := change(types.ArrayUpdateOperationAdd, false)
	time.Sleep(moment)
	if found := v.cluster.current(cluster).DrsVmConfig; len(found) > 0 {
		t.Error("the change is made at once")
	}
	second := change(types.ArrayUpdateOperationEdit, true)
	if one, two := v.taskEnds(t, first), v.taskEnds(t, second); one != "" || two != "" {
		t.Errorf("the tasks end with %q and %q", one, two)
	}
	if found := v.cluster.current(cluster).DrsVmConfig; len(found) != 1 || !*found[0].Enabled {
		t.Errorf("the overrides are %v", found)
	}
}

func TestARestartOfVCenterEndsAChangeOfAClusterThatHasNotBegun(t *testing.T) {
	v := smallVCenter(t)
	cluster, vm := v.inventory.clusters[0], v.inventory.findVM("vm-01").Self
	v.tasks.troubles.add("ReconfigureComputeResource_Task", trouble{how: slow, after: moment}, 1)
	spec := &types.ClusterConfigSpecEx{DrsVmConfigSpec: []types.ClusterDrsVmConfigSpec{{
		ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
		Info:            &types.ClusterDrsVmConfigInfo{Key: vm, Enabled: types.NewBool(false)},
	}}}
	(&overrides{vcenter: v}).reconfigure(v.inventory.as("somebody"), cluster.Self, "ReconfigureComputeResource_Task", "reconfigureEx", spec, true)
	v.tasks.discard()
	v.tasks.discard()
	time.Sleep(3 * moment)
	if found := v.cluster.current(cluster).DrsVmConfig; len(found) > 0 {
		t.Errorf("the overrides are %v", found)
	}
}

func TestACallThatIsLateIsCarriedOutAfterItsAnswerIsLost(t *testing.T) {
	carried := make(chan string, 1)
	broken := &outages{}
	broken.add(&failure{how: late, call: "SetField", times: 1, after: moment})
	server := httptest.NewServer(broken.between(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		carried <- string(body)
	})))
	defer server.Close()
	call, begun := `<Body><SetField/></Body>`, time.Now()
	if answer, err := http.Post(server.URL, "text/xml", strings.NewReader(call)); err == nil {
		t.Errorf("the call is answered with %s", answer.Status)
	}
	if got := <-carried; got != call || time.Since(begun) < moment {
		t.Errorf("%s is carried out after %s", got, time.Since(begun))
	}
}
