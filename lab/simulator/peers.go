package main

import (
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
)

// peers are all vCenters of the lab; the first one is first. The list does not change once they answer.
type peers struct {
	all       []*vcenter
	switching *sync.RWMutex // held for reading while a VM comes to its target, so that no host fails in that moment
}

// buildAll makes all vCenters of a configuration; they do not answer yet.
func buildAll(config *Config) (*peers, error) {
	p := &peers{switching: &sync.RWMutex{}}
	for _, each := range config.all() {
		v, err := build(each)
		if err != nil {
			return nil, err
		}
		p.join(v)
	}
	return p, nil
}

// join lets another vCenter know all others, and the others it.
func (p *peers) join(v *vcenter) {
	p.all = append(p.all, v)
	for _, each := range p.all {
		each.peers.all, each.peers.switching = p.all, p.switching
	}
}

// named finds a vCenter by its name; "" is the first one. It is nil when there is none.
func (p *peers) named(name string) *vcenter {
	for _, each := range p.all {
		if name == "" || each.config.VCenter.Name == name {
			return each
		}
	}
	return nil
}

// listen lets all vCenters answer.
func (p *peers) listen() error {
	for i, each := range p.all {
		if _, err := each.listen(each.caFile(i == 0)); err != nil {
			return err
		}
	}
	return nil
}

// caFile is the file with the certificate of the vCenter's CA.
func (v *vcenter) caFile(first bool) string {
	if first {
		return filepath.Join(v.config.StateDir, "ca.pem")
	}
	return filepath.Join(v.config.StateDir, "ca-"+v.config.VCenter.Name+".pem")
}

// address is how clients reach the vCenter, and how they know that it is the right one.
func (v *vcenter) address(first bool) (map[string]any, error) {
	at, err := url.Parse("https://" + v.server.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		return nil, err
	}
	short, long := thumbprints(v.identity.shown())
	return map[string]any{
		"host": at.Hostname(), "port": port, "user": v.config.VCenter.User, "password": v.config.VCenter.Password,
		"ca_file": v.caFile(first), "thumbprint_sha1": short, "thumbprint_sha256": long,
		"instance_uuid": v.inventory.content().About.InstanceUuid,
	}, nil
}
