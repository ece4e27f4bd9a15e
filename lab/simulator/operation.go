package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// operation is one long task of the lab: a relocation or an entry into maintenance mode.
type operation struct {
	sddc   *sddc
	ctx    *simulator.Context
	task   *simulator.Task
	once   sync.Once
	cancel chan struct{}
}

// begin registers a queued task without running the simulator's own task machinery.
func (s *sddc) begin(user string, entity mo.Entity, name string) *operation {
	task := simulator.CreateTask(entity, name, nil)
	s.mu.Lock()
	s.counter++
	task.Self = types.ManagedObjectReference{Type: "Task", Value: fmt.Sprintf("task-lab-%d", s.counter)}
	s.mu.Unlock()
	task.Info.Key, task.Info.Task = task.Self.Value, task.Self
	task.Info.EntityName = entity.Entity().Name
	task.Info.Cancelable = true
	task.Info.Reason = &types.TaskReasonUser{UserName: user}
	o := &operation{sddc: s, ctx: s.context(user), task: task, cancel: make(chan struct{})}
	task.Info.EventChainId = int32(s.counter)
	s.registry.Put(task)
	s.mu.Lock()
	s.tasks[task.Self] = o
	s.mu.Unlock()
	return o
}

func (o *operation) update(changes ...types.PropertyChange) {
	o.ctx.WithLock(o.task, func() { o.ctx.Update(o.task, changes) })
}

func (o *operation) running() {
	now := time.Now()
	o.update(
		types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateRunning},
		types.PropertyChange{Name: "info.startTime", Val: &now},
	)
}

func (o *operation) progress(percent int) {
	o.update(types.PropertyChange{Name: "info.progress", Val: int32(percent)})
}

// pointOfNoReturn makes the task uncancelable; it reports false when it was cancelled before.
func (o *operation) pointOfNoReturn() bool {
	passed := false
	o.once.Do(func() { passed = true })
	if passed {
		o.update(types.PropertyChange{Name: "info.cancelable", Val: false})
	}
	return passed
}

// requestCancel reports whether the task could still be cancelled.
func (o *operation) requestCancel() bool {
	cancelled := false
	o.once.Do(func() { cancelled = true; close(o.cancel) })
	return cancelled
}

func (o *operation) finish(fault types.BaseMethodFault) {
	now := time.Now()
	changes := []types.PropertyChange{{Name: "info.completeTime", Val: &now}, {Name: "info.cancelable", Val: false}}
	if fault == nil {
		changes = append(changes, types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
	} else {
		_, cancelled := fault.(*types.RequestCanceled)
		changes = append(changes,
			types.PropertyChange{Name: "info.cancelled", Val: cancelled},
			types.PropertyChange{Name: "info.error", Val: &types.LocalizedMethodFault{
				Fault: fault, LocalizedMessage: faultName(fault),
			}},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError},
		)
	}
	o.update(changes...)
	o.sddc.mu.Lock()
	delete(o.sddc.tasks, o.task.Self)
	o.sddc.mu.Unlock()
}

func faultName(fault types.BaseMethodFault) string {
	name := fmt.Sprintf("%T", fault)
	return name[len("*types."):]
}

func (s *sddc) scaled(seconds float64) time.Duration {
	return time.Duration(seconds * s.config.TimeScale * float64(time.Second))
}

func (s *sddc) post(ctx *simulator.Context, chain int32, event types.BaseEvent) {
	manager := s.registry.EventManager()
	ctx.WithLock(manager, func() {
		manager.PostEvent(ctx, &types.PostEvent{This: manager.Self, EventToPost: event})
		event.GetEvent().ChainId = chain
	})
}
