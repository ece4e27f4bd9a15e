package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// identity is how clients know a vCenter: a CA of its own, and the certificate that it shows to new connections.
type identity struct {
	names []string
	ca    *x509.Certificate
	caKey *ecdsa.PrivateKey

	mu      sync.Mutex
	current tls.Certificate
}

// newIdentity makes a CA and a first certificate, and writes the CA's certificate to caFile.
func newIdentity(caFile string, expired bool, names ...string) (*identity, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := template("liveml lab CA of " + names[0])
	ca.IsCA, ca.BasicConstraintsValid = true, true
	ca.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	// The parsed certificate carries the key identifier that strict clients look for.
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	if err := os.WriteFile(caFile, data, 0o600); err != nil {
		return nil, err
	}
	i := &identity{names: names, ca: ca, caKey: caKey}
	return i, i.renew(expired)
}

// renew replaces the certificate. Connections that are open keep the old one.
func (i *identity) renew(expired bool) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	server := template(i.names[0])
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = append(slices.Clone(i.names), "localhost")
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	if expired {
		server.NotBefore, server.NotAfter = server.NotBefore.Add(-90*24*time.Hour), time.Now().Add(-time.Minute)
	}
	der, err := x509.CreateCertificate(rand.Reader, server, i.ca, &key.PublicKey, i.caKey)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current = tls.Certificate{Certificate: [][]byte{der, i.ca.Raw}, PrivateKey: key}
	return nil
}

// shown is the certificate in DER; nil before there is one.
func (i *identity) shown() []byte {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current.Certificate[0]
}

// config is that of a server that shows the certificate of the moment.
func (i *identity) config() *tls.Config {
	now := func() *tls.Config {
		i.mu.Lock()
		defer i.mu.Unlock()
		return &tls.Config{Certificates: []tls.Certificate{i.current}, MinVersion: tls.VersionTLS12}
	}
	config := now()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return now(), nil }
	return config
}

// thumbprint is a hash of a certificate as people and clients write it: AB:CD:...
func thumbprint(hash []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", hash), " ", ":")
}

// thumbprints are those of a certificate in DER, by SHA-1 and by SHA-256.
func thumbprints(der []byte) (string, string) {
	short, long := sha1.Sum(der), sha256.Sum256(der)
	return thumbprint(short[:]), thumbprint(long[:])
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(90 * 24 * time.Hour),
	}
}
