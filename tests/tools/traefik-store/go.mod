module routecert.dev/tests/tools/traefik-store

go 1.26.0

require (
	github.com/cenkalti/backoff/v4 v4.3.0
	github.com/go-acme/lego/v5 v5.4.1
	github.com/rs/zerolog v1.34.0
)

require (
	github.com/mattn/go-colorable v0.1.13 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	golang.org/x/crypto v0.55.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	software.sslmate.com/src/go-pkcs12 v0.7.3 // indirect
)
