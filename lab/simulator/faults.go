package main

import (
	"reflect"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

// faultQueue holds the faults with which the next relocations of a VM fail, or the next calls of a method.
type faultQueue struct {
	mu     sync.Mutex
	queued map[string][]string // fault classes by VM MoID, or by callFaults
}

// callFaults is the key of the faults of a method.
func callFaults(method string) string { return "call " + method }

func newFaultQueue() *faultQueue { return &faultQueue{queued: map[string][]string{}} }

func (q *faultQueue) add(vm, fault string, times int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range times {
		q.queued[vm] = append(q.queued[vm], fault)
	}
}

// take removes the next fault of a VM; nil when none is queued.
func (q *faultQueue) take(vm string, task types.ManagedObjectReference) types.BaseMethodFault {
	q.mu.Lock()
	defer q.mu.Unlock()
	queued := q.queued[vm]
	if len(queued) == 0 {
		return nil
	}
	q.queued[vm] = queued[1:]
	return newFault(queued[0], task)
}

// newFault makes a fault by its class name; nil when there is no such class.
// References that the class requires point to about, because clients reject empty ones.
func newFault(name string, about types.ManagedObjectReference) types.BaseMethodFault {
	kind, ok := types.TypeFunc()(name)
	if !ok || kind.Kind() != reflect.Struct {
		return nil
	}
	value := reflect.New(kind)
	for i := range kind.NumField() {
		if field := value.Elem().Field(i); field.Type() == reflect.TypeOf(about) {
			field.Set(reflect.ValueOf(about))
		}
	}
	fault, _ := value.Interface().(types.BaseMethodFault)
	return fault
}

func faultName(fault types.BaseMethodFault) string {
	return reflect.TypeOf(fault).Elem().Name()
}
