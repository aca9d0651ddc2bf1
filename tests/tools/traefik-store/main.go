// Reads an acme.json with Traefik's own store, and with lego what that store hands out.
//
// usage: traefik-store FILE RESOLVER…    one JSON object a resolver, a line each
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"

	"github.com/go-acme/lego/v5/certcrypto"
	"routecert.dev/tests/tools/traefik-store/acme"
	"routecert.dev/tests/tools/traefik-store/safe"
)

type found struct {
	Email        string     `json:"email"`
	URI          string     `json:"uri"`
	HasKey       bool       `json:"hasKey"`
	Certificates [][]string `json:"certificates"`
}

func main() {
	store := acme.NewLocalStore(os.Args[1], safe.NewPool(context.Background()))
	for _, resolver := range os.Args[2:] {
		one, err := read(store, resolver)
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(one)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func read(store *acme.LocalStore, resolver string) (*found, error) {
	account, err := store.GetAccount(resolver)
	if err != nil {
		return nil, err
	}
	one := &found{Certificates: [][]string{}}
	if account != nil {
		one.Email = account.Email
		one.HasKey = account.GetPrivateKey() != nil
		if account.Registration != nil {
			one.URI = account.Registration.URI
		}
	}
	certificates, err := store.GetCertificates(resolver)
	if err != nil {
		return nil, err
	}
	for _, certificate := range certificates {
		if _, err := tls.X509KeyPair(certificate.Certificate.Certificate, certificate.Key); err != nil {
			return nil, err
		}
		if _, err := certcrypto.ParsePEMPrivateKey(certificate.Key); err != nil {
			return nil, err
		}
		if certificate.Store != "default" {
			return nil, fmt.Errorf("store %q serves nothing", certificate.Store)
		}
		one.Certificates = append(one.Certificates, certificate.Domain.ToStrArray())
	}
	return one, nil
}
