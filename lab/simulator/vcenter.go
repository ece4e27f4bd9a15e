package main

import (
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/vmware/govmomi/simulator"
)

// vcenter is one simulated vCenter, made of one part for each subject, with a state and a lock of its own. A part uses only
// parts above it. Nothing is global: the process holds several vCenters.
type vcenter struct {
	config    *Config
	service   *simulator.Service
	inventory *inventory // the managed objects, and their entries in the topology
	peers     *peers     // all vCenters of the lab, itself included
	wan       *wan       // to the site of the first vCenter; nil for the first one

	clock    clock
	events   events
	tasks    *tasks
	links    *links     // vMotion bandwidth, and who shares it
	slots    *slotQueue // how many moves run on a host, a network and a datastore at the same time
	storage  *storage   // where the files of VMs are, and the free space of datastores
	policies *policies  // storage policies, and which of them VMs have
	guests   *guests    // the real processes in the VMs
	faults   *faultQueue
	access   *access // users, roles, privileges
	calls    *callCounter
	sessions *sessions
	cluster  *clusterConfig // of HA and DRS, with rules and overrides, of every cluster
	outages  *outages       // between the clients and this vCenter
	sight    *sight         // what clients may not read
	missing  *missing
	server   *simulator.Server // nil until it listens
	identity *identity         // nil until it listens
	dead     atomic.Bool       // nobody listens on its port for some time

	alarms      *alarms
	maintenance *maintenance
	moves       *moves
	drs         map[string]*drs // by MoID of the cluster
	membership  *membership
	failover    *failover // of hosts that fail
}

// newVCenter joins the parts around an inventory that has been built.
func newVCenter(config *Config, service *simulator.Service, inventory *inventory) *vcenter {
	v := &vcenter{config: config, service: service, inventory: inventory, clock: clock{scale: config.TimeScale}}
	v.peers, v.wan = &peers{all: []*vcenter{v}, switching: &sync.RWMutex{}}, newWAN(config.WAN)
	v.events = events{inventory}
	v.tasks = newTasks(inventory, v.clock.scaled(config.TaskSeconds))
	v.links = newLinks(inventory, config.LinkMbit)
	v.slots = newSlotQueue(v.links.slotBudget)
	v.storage = &storage{inventory: inventory}
	v.policies = newPolicies(v.storage, config)
	v.guests = newGuests(inventory)
	v.faults = newFaultQueue()
	v.access = newAccess(inventory, config)
	v.calls = newCallCounter()
	v.sessions = newSessions(inventory)
	v.outages, v.sight, v.missing = &outages{}, newSight(), newMissing()
	v.cluster = newClusterConfig(inventory, v.tasks)
	v.alarms = &alarms{inventory: inventory, events: v.events}
	v.maintenance = newMaintenance(inventory, v.events, v.tasks, v.clock)
	v.moves = newMoves(v)
	v.drs = map[string]*drs{}
	for _, cluster := range inventory.clusters {
		v.drs[cluster.Self.Value] = newDRS(v, cluster)
	}
	v.membership = newMembership(v)
	v.failover = newFailover(v)
	if config.PolicyService == nil || *config.PolicyService {
		v.servePolicies()
	}
	return v
}

// listen starts to answer the vSphere API.
func (v *vcenter) listen(caFile string) (*simulator.Server, error) {
	var err error
	if v.identity, err = newIdentity(caFile, v.config.Certificate == "expired", v.config.VCenter.Name); err != nil {
		return nil, err
	}
	v.service.TLS = v.identity.config()
	v.service.Listen = &url.URL{
		Host: listenAddress(v.config.VCenter.Listen), User: url.UserPassword(v.config.VCenter.User, v.config.VCenter.Password),
	}
	server := v.service.NewServer()
	server.Config.Handler = v.outages.between(server.Config.Handler)
	v.server = server
	return server, nil
}
