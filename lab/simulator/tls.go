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
	"strings"
	"time"
)

// makeCertificate makes a CA of the vCenter's own and a server certificate, and writes the CA's certificate to caFile.
func makeCertificate(caFile string, expired bool, names ...string) (*tls.Config, error) {
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
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	server := template(names[0])
	server.KeyUsage = x509.KeyUsageDigitalSignature
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = append(names, "localhost")
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	if expired {
		server.NotBefore, server.NotAfter = server.NotBefore.Add(-90*24*time.Hour), time.Now().Add(-time.Minute)
	}
	der, err := x509.CreateCertificate(rand.Reader, server, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	if err := os.WriteFile(caFile, data, 0o600); err != nil {
		return nil, err
	}
	certificate := tls.Certificate{Certificate: [][]byte{der, caDER}, PrivateKey: key}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
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
