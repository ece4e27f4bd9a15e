package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// one is the SDDC of a vCenter with one host and one VM. The names of what is in it begin with the prefix.
func one(name, prefix, folder string) *Config {
	return &Config{
		StateDir: folder, TimeScale: 0.001, LinkMbit: 10_000, StorageMBs: 1000, VCenter: Login{Name: name, User: "admin", Password: prefix},
		Restricted: Login{User: "cloudadmin", Password: prefix}, Operator: Login{User: "operator", Password: prefix},
		Datacenters: []Datacenter{{Name: prefix + "-dc", Folders: []string{prefix + "-folder"}}},
		Clusters: []Cluster{{
			Name: prefix + "-cluster", Datacenter: prefix + "-dc", ResourcePools: []string{prefix + "-pool"},
			DRSOverrides: map[string]string{prefix + "-vm": "manual"},
			Rules:        []Rule{{Name: "apart", Kind: "anti_affinity", VMs: []string{prefix + "-vm"}}},
		}},
		Datastores: []Attached{{Name: prefix + "-store", CapacityGB: 100, FreeGB: 50, Hosts: []string{"*"}}},
		Networks:   []Attached{{Name: prefix + "-net", Datacenter: prefix + "-dc", Hosts: []string{"*"}}},
		Hosts:      []Host{{Name: prefix + "-host", Cluster: prefix + "-cluster", Cores: 4, MHz: 2000, MemoryGB: 16, ESXi: "8.0.2"}},
		VMs: []VM{{
			Name: prefix + "-vm", Host: prefix + "-host", MemoryGB: 1, MemoryReservationGB: 1, CPUs: 1, HardwareVersion: 19,
			Folder: prefix + "-folder", Pool: prefix + "-pool", Networks: []string{prefix + "-net"}, Datastores: []string{prefix + "-store"},
			Disks: []Disk{{SizeGB: 20, UsedGB: 4, Thin: true, Datastore: prefix + "-store"}},
		}},
	}
}

// two are a site and a cloud that answer; change may change the configuration of the cloud.
func two(t *testing.T, change func(cloud *Config)) (here, there *vcenter) {
	t.Helper()
	folder := t.TempDir()
	config, cloud := one("site", "west", folder), one("cloud", "east", folder)
	cloud.WAN = &WAN{Mbit: 10_000, LatencyMS: 10}
	if change != nil {
		change(cloud)
	}
	config.VCenters = []*Config{cloud}
	peers, err := buildAll(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := peers.listen(); err != nil {
		t.Fatal(err)
	}
	for _, each := range peers.all {
		t.Cleanup(each.server.Close)
	}
	return peers.all[0], peers.all[1]
}

func TestEachVCenterHasACAOfItsOwn(t *testing.T) {
	here, there := two(t, nil)
	trusts := func(server, ca *vcenter) bool {
		pem, err := os.ReadFile(ca.caFile(ca == here))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		conn, err := tls.Dial("tcp", server.server.Listener.Addr().String(), &tls.Config{RootCAs: pool})
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	if !trusts(here, here) || !trusts(there, there) {
		t.Error("a vCenter is not trusted with its own CA")
	}
	if trusts(here, there) || trusts(there, here) {
		t.Error("the CA of one vCenter is good for the other one")
	}
}

func TestACertificateMayHaveExpired(t *testing.T) {
	_, there := two(t, func(cloud *Config) { cloud.Certificate = "expired" })
	shown, err := x509.ParseCertificate(there.identity.shown())
	if err != nil {
		t.Fatal(err)
	}
	if !shown.NotAfter.Before(time.Now()) {
		t.Errorf("the certificate is valid until %s", shown.NotAfter)
	}
}

func TestARenewedCertificateIsForNewConnections(t *testing.T) {
	here, there := two(t, nil)
	address := there.server.Listener.Addr().String()
	pem, err := os.ReadFile(there.caFile(false))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	dial := func() *tls.Conn {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	old, spec := dial(), crossingSpec(there)
	answer := httptest.NewRecorder()
	controlHandler(here.peers, func() {}).ServeHTTP(
		answer, httptest.NewRequest(http.MethodPost, "/v1/certificate?vcenter=cloud", strings.NewReader("{}")))
	if answer.Code != http.StatusOK {
		t.Fatal(answer.Body)
	}
	if bytes.Equal(old.ConnectionState().PeerCertificates[0].Raw, dial().ConnectionState().PeerCertificates[0].Raw) {
		t.Error("a new connection gets the old certificate")
	}
	if _, faults := here.moves.across(here.inventory.findVM("west-vm"), spec); len(faults) != 1 || faultName(faults[0]) != "SSLVerifyFault" {
		t.Errorf("the old thumbprint gives %v", faults)
	}
}

func TestVCentersAndTheirVMsHaveIdentitiesOfTheirOwn(t *testing.T) {
	here, there := two(t, nil)
	if here.inventory.content().About.InstanceUuid == there.inventory.content().About.InstanceUuid {
		t.Error("both vCenters have the same instance UUID")
	}
	near, far := here.inventory.findVM("west-vm").Config, there.inventory.findVM("east-vm").Config
	if near.InstanceUuid == far.InstanceUuid || near.Uuid == far.Uuid {
		t.Error("VMs of two vCenters have the same UUID")
	}
	if here.inventory.findVM("east-vm") != nil || there.inventory.findHost("west-host") != nil {
		t.Error("a vCenter has what is in the other one")
	}
}

func TestARequestOfTheControlAPINamesItsVCenter(t *testing.T) {
	here, _ := two(t, nil)
	handler := controlHandler(here.peers, func() {})
	ask := func(method, path, body string) (int, map[string]any) {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
		var read map[string]any
		if err := json.NewDecoder(bytes.NewReader(answer.Body.Bytes())).Decode(&read); err != nil {
			t.Fatal(err)
		}
		return answer.Code, read
	}
	for path, name := range map[string]string{"/v1/state": "site", "/v1/state?vcenter=site": "site", "/v1/state?vcenter=cloud": "cloud"} {
		if _, read := ask(http.MethodGet, path, ""); read["vcenter"] != name {
			t.Errorf("%s is about %v, not %s", path, read["vcenter"], name)
		}
	}
	if code, read := ask(http.MethodGet, "/v1/state?vcenter=moon", ""); code != http.StatusNotFound || !strings.Contains(read["error"].(string), "site, cloud") {
		t.Errorf("an unknown vCenter: %d %v", code, read)
	}
	change := `{"connection": "disconnected", "vcenter": "cloud"}`
	if code, read := ask(http.MethodPost, "/v1/hosts/east-host", change); code != http.StatusOK {
		t.Errorf("a host of the cloud: %d %v", code, read)
	}
	if code, _ := ask(http.MethodPost, "/v1/hosts/east-host?vcenter=cloud", `{"connection": "connected"}`); code != http.StatusOK {
		t.Errorf("the same with a query: %d", code)
	}
	if code, _ := ask(http.MethodPost, "/v1/hosts/east-host", `{"connection": "connected"}`); code != http.StatusNotFound {
		t.Errorf("a host of the cloud, asked of the site: %d", code)
	}
}
