#!/bin/sh
# Hangs, with a child of its own whose process id it writes beside itself.
sleep 600 &
echo $! > "$0.pid"
wait
