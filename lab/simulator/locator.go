package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

const connectSeconds = 5 * time.Second

// reach connects to the vCenter of a locator and logs in there, as the vCenter here does. It returns that vCenter and the user.
// A task that fails with SSLVerifyFault names the thumbprint that the vCenter showed, as was reported of a vCenter (pyvmomi issue
// 1041). The other classes, and that a certificate that has expired counts for nothing even with its thumbprint, are assumed.
func (p *peers) reach(here *vcenter, locator *types.ServiceLocator) (*vcenter, string, types.BaseMethodFault) {
	shown, fault := shownAt(locator.Url)
	if fault != nil {
		return nil, "", fault
	}
	if fault := untrusted(locator, shown); fault != nil {
		return nil, "", fault
	}
	there := p.showing(shown.Raw)
	if there == nil || there == here || !strings.EqualFold(locator.InstanceUuid, there.inventory.content().About.InstanceUuid) {
		return nil, "", invalid("spec.service.instanceUuid")
	}
	if len(wans(here, there)) > 0 && (line{wans: wans(here, there)}).broken() != nil || there.outages.take("Login") != nil {
		return nil, "", &types.HostCommunication{}
	}
	login, ok := locator.Credential.(*types.ServiceLocatorNamePassword)
	if !ok {
		return nil, "", invalid("spec.service.credential")
	}
	if fault := there.access.loginFault(&types.Login{UserName: login.Username, Password: login.Password}); fault != nil {
		return nil, "", fault
	}
	return there, login.Username, nil
}

// shownAt is the certificate of the server at an address.
func shownAt(address string) (*x509.Certificate, types.BaseMethodFault) {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "https" || at.Hostname() == "" {
		return nil, invalid("spec.service.url")
	}
	port := at.Port()
	if port == "" {
		port = "443"
	}
	// The certificate is checked by the caller, against what the client of the vCenter says.
	unchecked := &tls.Config{InsecureSkipVerify: true}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: connectSeconds}, "tcp", net.JoinHostPort(at.Hostname(), port), unchecked)
	if err != nil {
		return nil, &types.NoHost{Name: at.Hostname()}
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// untrusted is the fault of a certificate that is not the one of the locator, or is not valid now. The lab's vCenters know no CA.
func untrusted(locator *types.ServiceLocator, shown *x509.Certificate) types.BaseMethodFault {
	short, long := thumbprints(shown.Raw)
	wrong := &types.SSLVerifyFault{SelfSigned: false, Thumbprint: short}
	given := strings.ToUpper(locator.SslThumbprint)
	if locator.SslCertificate != "" {
		block, _ := pem.Decode([]byte(locator.SslCertificate))
		if block == nil {
			return invalid("spec.service.sslCertificate")
		}
		own, ownLong := thumbprints(block.Bytes)
		if given != "" && given != own && given != ownLong {
			return invalid("spec.service.sslThumbprint")
		}
		if !bytes.Equal(block.Bytes, shown.Raw) {
			return wrong
		}
	} else if given != short && given != long {
		return wrong
	}
	if now := time.Now(); now.After(shown.NotAfter) || now.Before(shown.NotBefore) {
		return wrong
	}
	return nil
}

// showing is the vCenter with that certificate; nil if the lab has no such one.
func (p *peers) showing(certificate []byte) *vcenter {
	return p.first(func(v *vcenter) bool { return bytes.Equal(v.identity.shown(), certificate) })
}

// withInstance is the vCenter with that instance UUID; nil if the lab has no such one.
func (p *peers) withInstance(uuid string) *vcenter {
	return p.first(func(v *vcenter) bool { return strings.EqualFold(v.inventory.content().About.InstanceUuid, uuid) })
}

func (p *peers) first(is func(*vcenter) bool) *vcenter {
	if at := slices.IndexFunc(p.all, is); at >= 0 {
		return p.all[at]
	}
	return nil
}
