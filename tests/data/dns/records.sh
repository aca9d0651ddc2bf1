#!/bin/sh
# A hook that keeps records as files, beside the name by which it is called.
set -eu
verb=$1
if [ "$2" = -- ]; then
  name=_acme-challenge.$3.
  value=$5
else
  name=$2
  value=$3
fi
folder=$(dirname "$0")/records/$name
case $verb in
  present) mkdir -p "$folder" && : > "$folder/$value" ;;
  cleanup) rm -f "$folder/$value" ;;
esac
