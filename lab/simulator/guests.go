package main

import "github.com/vmware/govmomi/vim25/types"

// guests are the real processes that run in VMs of the topology. The set is fixed when the inventory is built.
type guests struct {
	processes map[string]*guestProcess // by VM MoID
}

func newGuests(inventory *inventory) *guests {
	g := &guests{processes: map[string]*guestProcess{}}
	for vm, spec := range inventory.specs {
		if len(spec.Guest.Command) > 0 {
			g.processes[vm] = &guestProcess{guest: spec.Guest}
		}
	}
	return g
}

// of is the process in a VM; nil when there is none.
func (g *guests) of(vm types.ManagedObjectReference) *guestProcess { return g.processes[vm.Value] }

func (g *guests) start() error {
	for _, guest := range g.processes {
		if err := guest.start(); err != nil {
			return err
		}
	}
	return nil
}

func (g *guests) kill() {
	for _, guest := range g.processes {
		guest.kill()
	}
}
