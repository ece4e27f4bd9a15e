package main

import (
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// What befalls a task that was accepted: it is carried out later, it fails later, or a person cancels it later.
const (
	slow      = "slow"
	fails     = "fails"
	cancelled = "cancelled"
)

// cancellable and troubled are the calls whose tasks a person can cancel, and all calls whose tasks trouble can befall.
var (
	cancellable = []string{"EnterMaintenanceMode_Task", "ExitMaintenanceMode_Task"}
	troubled    = append([]string{"ReconfigureComputeResource_Task", "ReconfigureCluster_Task"}, cancellable...)
)

// trouble is what befalls one task, and how long after its start.
type trouble struct {
	how   string
	after time.Duration
	fault string // the class of the fault of a task that fails
}

// troubles are what befalls the next tasks of a call.
type troubles struct {
	mu     sync.Mutex
	queued map[string][]trouble // by call
}

func newTroubles() *troubles { return &troubles{queued: map[string][]trouble{}} }

func (t *troubles) add(call string, each trouble, times int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range times {
		t.queued[call] = append(t.queued[call], each)
	}
}

// take removes what befalls the next task of a call; nil if nothing does.
func (t *troubles) take(call string) *trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	queued := t.queued[call]
	if len(queued) == 0 {
		return nil
	}
	t.queued[call] = queued[1:]
	return &queued[0]
}

// befall waits for what befalls the task before its work is done. It returns the fault that ends the task; nil if the work is done now.
func (o *operation) befall() types.BaseMethodFault {
	if o.trouble == nil {
		return nil
	}
	select {
	case <-o.cancel:
		return &types.RequestCanceled{}
	case <-o.dropped:
		return &types.SystemError{Reason: "vCenter was restarted"}
	case <-time.After(o.trouble.after):
	}
	if o.trouble.how == fails {
		return newFault(o.trouble.fault, *o.task.Info.Entity)
	}
	if o.trouble.how == cancelled && o.requestCancel() {
		return &types.RequestCanceled{}
	}
	return nil
}
