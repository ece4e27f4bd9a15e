package main

import (
	"fmt"
	"log"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// tasks are the lab's own tasks that are running.
type tasks struct {
	inventory *inventory
	troubles  *troubles // what befalls the next ones

	lifetime time.Duration // after which a task that has ended is gone

	mu      sync.Mutex
	running map[types.ManagedObjectReference]*operation
	counter int32
}

func newTasks(inventory *inventory, lifetime time.Duration) *tasks {
	return &tasks{inventory: inventory, troubles: newTroubles(), lifetime: lifetime, running: map[types.ManagedObjectReference]*operation{}}
}

// begin registers a queued task of a call. Its description is the type of the object and a word, as in a vCenter.
func (t *tasks) begin(user string, entity mo.Entity, call, word string) *operation {
	task := simulator.CreateTask(entity, word, nil)
	task.Info.Name = call
	o := t.register(user, entity, task)
	o.trouble = t.troubles.take(call)
	return o
}

// beginInternal registers a queued task that vCenter itself made: it has no name (TaskInfo.name).
func (t *tasks) beginInternal(user string, entity mo.Entity, descriptionID string) *operation {
	task := simulator.CreateTask(entity, descriptionID, nil)
	task.Info.Name, task.Info.DescriptionId = "", descriptionID
	return t.register(user, entity, task)
}

// register does without the simulator's own task machinery. A task without a user was started by the system.
func (t *tasks) register(user string, entity mo.Entity, task *simulator.Task) *operation {
	t.mu.Lock()
	t.counter++
	number := t.counter
	t.mu.Unlock()
	task.Self = types.ManagedObjectReference{Type: "Task", Value: fmt.Sprintf("task-lab-%d", number)}
	task.Info.Key, task.Info.Task = task.Self.Value, task.Self
	task.Info.EntityName = entity.Entity().Name
	task.Info.Cancelable = true
	task.Info.Reason = &types.TaskReasonUser{UserName: user}
	if user == "" {
		task.Info.Reason = &types.TaskReasonSystem{}
	}
	task.Info.EventChainId = number
	o := &operation{tasks: t, ctx: t.inventory.as(user), task: task, cancel: make(chan struct{}), dropped: make(chan struct{})}
	t.inventory.registry.Put(task)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running[task.Self] = o
	return o
}

// find returns a running task; nil if it is not one of the lab's, or has ended.
func (t *tasks) find(ref types.ManagedObjectReference) *operation {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running[ref]
}

func (t *tasks) end(ref types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.running, ref)
}

// discard removes every task, as a restart of vCenter does. What hosts do continues, and nobody can ask how it ends. What vCenter itself
// was to do later, such as a change of a cluster, is not done; that is assumed.
func (t *tasks) discard() {
	t.drop()
	ctx := t.inventory.as("lab")
	none := []types.PropertyChange{{Name: "recentTask", Val: []types.ManagedObjectReference(nil)}}
	for _, task := range t.inventory.registry.All("Task") {
		t.inventory.registry.Remove(ctx, task.Reference())
	}
	for _, kind := range []string{"VirtualMachine", "HostSystem", "ClusterComputeResource"} {
		for _, entity := range t.inventory.registry.All(kind) {
			ctx.WithLock(entity, func() { ctx.Update(entity, none) })
		}
	}
	manager := t.inventory.registry.Get(*t.inventory.content().TaskManager)
	ctx.WithLock(manager, func() { ctx.Update(manager, none) })
}

// drop ends the changes of clusters that have not begun.
func (t *tasks) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.running {
		if o.task.Info.Entity.Type == "ClusterComputeResource" {
			close(o.dropped)
			delete(t.running, o.task.Self)
		}
	}
}

// expire removes a task that has ended a while ago, as a vCenter does. The task is in the lists of its object and of the manager.
func (t *tasks) expire(task *simulator.Task) {
	time.AfterFunc(t.lifetime, func() {
		ctx, registry := t.inventory.as("lab"), t.inventory.registry
		registry.Remove(ctx, task.Self)
		if task.Info.Entity != nil {
			if entity, ok := registry.Get(*task.Info.Entity).(mo.Entity); ok {
				ctx.WithLock(entity, func() { ctx.Update(entity, withoutTask(entity.Entity().RecentTask, task.Self)) })
			}
		}
		manager := registry.Get(*t.inventory.content().TaskManager).(*simulator.TaskManager)
		ctx.WithLock(manager, func() { ctx.Update(manager, withoutTask(manager.RecentTask, task.Self)) })
	})
}

// withoutTask is the change of a list of recent tasks from which one is removed.
func withoutTask(recent []types.ManagedObjectReference, task types.ManagedObjectReference) []types.PropertyChange {
	left := slices.DeleteFunc(slices.Clone(recent), func(ref types.ManagedObjectReference) bool { return ref == task })
	return []types.PropertyChange{{Name: "recentTask", Val: left}}
}

// operation is one task of the lab: a relocation, a host that enters or leaves maintenance mode, or a change of the cluster.
type operation struct {
	tasks   *tasks
	ctx     *simulator.Context
	task    *simulator.Task
	trouble *trouble // nil if nothing befalls it
	once    sync.Once
	cancel  chan struct{}
	dropped chan struct{} // closed if vCenter itself carried out the task, and was restarted
}

// run carries out the task and finishes it, whatever happens: a panic fails the task and not the lab.
func (o *operation) run(work func() types.BaseMethodFault) {
	fault := types.BaseMethodFault(&types.SystemError{Reason: "internal error of the lab, see vcenter.log"})
	defer func() {
		if cause := recover(); cause != nil {
			log.Printf("panic in %s: %v\n%s", o.task.Self.Value, cause, debug.Stack())
		}
		o.finish(fault)
	}()
	fault = work()
}

// runAtOnce carries out the task now, and nobody can cancel it. It returns the task.
func (o *operation) runAtOnce(work func() types.BaseMethodFault) types.ManagedObjectReference {
	o.pointOfNoReturn()
	o.running()
	go o.run(work)
	return o.task.Self
}

// chain joins the events of this task.
func (o *operation) chain() int32 { return o.task.Info.EventChainId }

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

// pointOfNoReturn makes the task uncancelable; it reports false when the task has been cancelled before.
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
		reported := o.tasks.inventory.config.localized(fault)
		changes = append(changes,
			types.PropertyChange{Name: "info.cancelled", Val: cancelled},
			types.PropertyChange{Name: "info.error", Val: &reported},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError},
		)
	}
	o.update(changes...)
	o.tasks.end(o.task.Self)
	o.tasks.expire(o.task)
}

// taskGuard turns a panic in one of the simulator's own tasks into a fault of that task. Without it the panic would end
// the lab, because such a task runs in a goroutine of its own. Such tasks expire like those of the lab.
type taskGuard struct {
	self  types.ManagedObjectReference
	tasks *tasks
}

// Reference makes it a handler of the registry.
func (g *taskGuard) Reference() types.ManagedObjectReference { return g.self }

// PutObject is called before the task starts.
func (g *taskGuard) PutObject(_ *simulator.Context, object mo.Reference) {
	task, ok := object.(*simulator.Task)
	if !ok || task.Execute == nil {
		return
	}
	execute := task.Execute
	task.Execute = func(task *simulator.Task) (result types.AnyType, fault types.BaseMethodFault) {
		defer g.tasks.expire(task)
		defer func() {
			if cause := recover(); cause != nil {
				log.Printf("panic in %s (%s): %v\n%s", task.Self.Value, task.Info.DescriptionId, cause, debug.Stack())
				result, fault = nil, &types.SystemError{Reason: "internal error of the simulator, see vcenter.log"}
			}
		}()
		return execute(task)
	}
}

// UpdateObject belongs to the interface.
func (g *taskGuard) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject belongs to the interface.
func (g *taskGuard) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}
