package main

import (
	"net/url"

	"github.com/vmware/govmomi/simulator"
)

// vcenter is one simulated vCenter: what it manages, and one part for each subject, with a state and a lock of its own.
// Arrows between the parts point down this list; nothing is global, so that a process can hold several.
type vcenter struct {
	config    *Config
	service   *simulator.Service
	inventory *inventory // the managed objects, and what the topology says of them

	clock    clock
	events   events
	tasks    *tasks
	links    *links     // vMotion bandwidth, and who shares it
	slots    *slotQueue // how many moves a host takes part in
	guests   *guests    // the real processes in the VMs
	faults   *faultQueue
	access   *access // users, roles, privileges
	calls    *callCounter
	sessions *sessions

	alarms      *alarms
	maintenance *maintenance
	moves       *moves
}

// newVCenter joins the parts around an inventory that has been built.
func newVCenter(config *Config, service *simulator.Service, inventory *inventory) *vcenter {
	v := &vcenter{config: config, service: service, inventory: inventory, clock: clock{scale: config.TimeScale}}
	v.events = events{inventory}
	v.tasks = newTasks(inventory)
	v.links = newLinks(inventory, config.LinkMbit)
	v.slots = newSlotQueue(v.links.slotBudget)
	v.guests = newGuests(inventory)
	v.faults = newFaultQueue()
	v.access = newAccess(inventory, config)
	v.calls = newCallCounter()
	v.sessions = newSessions(inventory)
	v.alarms = &alarms{inventory: inventory, events: v.events}
	v.maintenance = newMaintenance(inventory, v.events, v.tasks, v.clock)
	v.moves = newMoves(v)
	return v
}

// listen starts to answer the vSphere API.
func (v *vcenter) listen(caFile string) (*simulator.Server, error) {
	certificate, err := makeCertificate(caFile, v.config.VCenter.Name)
	if err != nil {
		return nil, err
	}
	v.service.TLS = certificate
	v.service.Listen = &url.URL{
		Host: listenAddress(v.config.VCenter.Listen), User: url.UserPassword(v.config.VCenter.User, v.config.VCenter.Password),
	}
	return v.service.NewServer(), nil
}
