#!/usr/bin/env bash
# Builds the real parts that tests and demo run, once per version, into a cache outside the clone.
# usage: build.sh MODULE          prints the folder that holds them; progress goes to standard error
set -euo pipefail

readonly go_wanted=1.26
module=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$module
cache=${ROUTECERT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/routecert}/tools

command -v go >/dev/null || { echo "Go is missing: install Go $go_wanted or newer (https://go.dev/dl) and run make again" >&2; exit 1; }

key=$(find "$here" -type f | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-16)
out=$cache/$module-$key
if [ -e "$out/complete" ]; then echo "$out"; exit 0; fi

mkdir -p "$cache"
exec 9>"$cache/$module.lock"
flock 9
if [ -e "$out/complete" ]; then echo "$out"; exit 0; fi

work=$(mktemp -d "$cache/$module.XXXXXX")
trap 'rm -rf "$work"' EXIT
started=$SECONDS
export GOFLAGS="-mod=readonly -buildvcs=false" CGO_ENABLED=0

# build LABEL LDFLAGS PACKAGE…: a line a package, since the large ones take minutes
build() {
  local flags=$1 package name
  shift
  for package in "$@"; do
    name=${package##*/}
    case $package in
      go.etcd.io/etcd/server/v3) name=etcd ;;
      .) name=$module ;;
    esac
    echo "tools: building $name ($((SECONDS - started)) s)" >&2
    (cd "$here" && go build -trimpath -ldflags "-s -w $flags" -o "$work/$name" "$package") >&2
  done
}

case $module in
  cluster)
    version=k8s.io/component-base/version
    build "-X $version.gitVersion=v1.37.2 -X $version.gitMajor=1 -X $version.gitMinor=37" \
      go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kubectl} ;;
  pebble)
    build "" github.com/letsencrypt/pebble/v2/cmd/{pebble,pebble-challtestsrv} ;;
  step-ca)
    build "" github.com/smallstep/certificates/cmd/step-ca ;;
  lego)
    build "" . ;;
  traefik)
    traefik=github.com/traefik/traefik/v3
    (cd "$here" && go mod download "$traefik") >&2
    cp "$(cd "$here" && go list -m -f '{{.Dir}}' "$traefik")"/docs/content/reference/dynamic-configuration/traefik.io_*.yaml "$work/"
    chmod u+w "$work"/* ;;
  traefik-store)
    # Traefik's own store, without its package, which needs every DNS provider of lego
    (cd "$here/../traefik" && go mod download github.com/traefik/traefik/v3) >&2
    traefik=$(cd "$here/../traefik" && go list -m -f '{{.Dir}}' github.com/traefik/traefik/v3)/pkg
    cp -r "$here" "$work/src" && mkdir "$work/src"/{safe,types}
    cp "$traefik"/provider/acme/{local_store,local_store_unix,store,account}.go "$work/src/acme/"
    cp "$traefik"/safe/{routine,safe}.go "$work/src/safe/"
    cp "$traefik/types/domains.go" "$work/src/types/"
    chmod -R u+w "$work/src"
    sed -i -e '/observability\/logs/d' -e 's/logs\.ProviderName/"providerName"/' \
      -e "s#github.com/traefik/traefik/v3/pkg/#routecert.dev/tests/tools/traefik-store/#" "$work"/src/acme/*.go
    (cd "$work/src" && go build -trimpath -o "$work/traefik-store" .) >&2
    rm -rf "$work/src" ;;
  *) echo "tools: no module $module" >&2; exit 1 ;;
esac

touch "$work/complete"
chmod 755 "$work"
mv -T "$work" "$out"
echo "tools: $module ready after $((SECONDS - started)) s" >&2
echo "$out"
