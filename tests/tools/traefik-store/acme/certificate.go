// Package acme is put together by build.sh: Traefik's store, and here what it needs of the file of
// Traefik's provider, which would bring every DNS provider of lego with it.
package acme

import "routecert.dev/tests/tools/traefik-store/types"

// Certificate has the fields that are stored.
type Certificate struct {
	Domain      types.Domain `json:"domain,omitempty"`
	Certificate []byte       `json:"certificate,omitempty"`
	Key         []byte       `json:"key,omitempty"`
}

// CertAndStore says where a certificate is served.
type CertAndStore struct {
	Certificate

	Store string
}
