// Command lego gets certificates with lego as a library: HTTP-01 on one port, EC256, so many orders
// at once.
//
// usage: lego DIRECTORY PORT AT_ONCE HOST…   (LEGO_CA_CERTIFICATES names whom to trust)
// Prints the seconds from the registration to the last certificate.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/challenge/http01"
	"github.com/go-acme/lego/v4/lego"
	"github.com/go-acme/lego/v4/registration"
)

type user struct {
	key          crypto.PrivateKey
	registration *registration.Resource
}

func (*user) GetEmail() string                          { return "a@example.com" }
func (u *user) GetRegistration() *registration.Resource { return u.registration }
func (u *user) GetPrivateKey() crypto.PrivateKey        { return u.key }

// answers serves all challenges on one listener, as a proxy does; lego's own server takes the port
// for one order alone.
type answers struct{ byPath sync.Map }

func (a *answers) Present(_, token, answer string) error {
	a.byPath.Store(http01.ChallengePath(token), answer)
	return nil
}

func (a *answers) CleanUp(_, token, _ string) error {
	a.byPath.Delete(http01.ChallengePath(token))
	return nil
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, known := a.byPath.Load(r.URL.Path)
	if !known {
		http.NotFound(w, r)
		return
	}
	fmt.Fprint(w, answer)
}

func main() {
	directory, port, hosts := os.Args[1], os.Args[2], os.Args[4:]
	atOnce, err := strconv.Atoi(os.Args[3])
	check(err)
	start := time.Now()
	client := register(directory)
	served := &answers{}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	check(err)
	go func() { check(http.Serve(listener, served)) }()
	check(client.Challenge.SetHTTP01Provider(served))
	obtain(client, hosts, atOnce)
	fmt.Printf("%.3f\n", time.Since(start).Seconds())
}

func register(directory string) *lego.Client {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	account := &user{key: key}
	config := lego.NewConfig(account)
	config.CADirURL = directory
	config.Certificate.KeyType = certcrypto.EC256
	// its pause before each authorization, made as short as can be
	config.Certificate.OverallRequestLimit = 1_000_000
	// Go keeps two connections of a host by default: too few for many at once
	config.HTTPClient.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	client, err := lego.NewClient(config)
	check(err)
	account.registration, err = client.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true})
	check(err)
	return client
}

func obtain(client *lego.Client, hosts []string, atOnce int) {
	queue := make(chan string)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for host := range queue {
				_, err := client.Certificate.Obtain(certificate.ObtainRequest{Domains: []string{host}, Bundle: true})
				check(err)
			}
		}()
	}
	for _, host := range hosts {
		queue <- host
	}
	close(queue)
	workers.Wait()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
