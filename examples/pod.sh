#!/bin/sh
# What pause is for, as commands: a Pod of two containers, held by one sleeping process, without an engine or root.
#
#   examples/pod.sh [PAUSE]      the program to show; by default the one that `cargo xtask build` makes
#
# It needs util-linux, iproute2, hostname, procps and busybox, and stops at the first thing that is not as it should be.
set -eu
cd "$(dirname "$0")/.."
program=$(realpath "${1:-$(cargo xtask build)}")

step() { printf '\n%s\n' "$*"; }
shown() { echo "  \$ $*"; "$@"; }
is() { [ "$1" = "$2" ] || { echo "expected '$2', saw '$1'" >&2; exit 1; }; }
eventually() { for _ in $(seq 300); do ! "$@" > /dev/null || return 0; sleep 0.1; done; echo "in vain: $*" >&2; exit 1; }
inside() { nsenter --target "$pause" --user --preserve-credentials --pid --net --ipc --uts "$@"; }
field() { awk -v name="$1:" '$1 == name { print $NF }' "/proc/$pause/status"; }
switches() { awk '/ctxt_switches/ { sum += $2 } END { print sum }' "/proc/$pause/status"; }
owned() { inside hostname; inside ip -4 -brief address show lo; inside ipcs --shmems; }
serve() { inside busybox nc -ll -p 8080 -e echo "$1" & server=$!; }
ask() { inside busybox nc 127.0.0.1 8080 < /dev/null 2> /dev/null; }
starts() { pause=$(pgrep --parent "$sandbox") && [ "$(field State)$(field SigCgt)" = "(sleeping)0000000000004002" ]; }
has_orphans() { [ "$(pgrep --count --parent "$pause")" = "$1" ]; }
said=$(mktemp)
sandbox=
trap 'rm "$said"; [ -z "$sandbox" ] || kill -KILL "$sandbox" 2> /dev/null || :' EXIT

step "pause starts as the first process of new namespaces, and sleeps."
unshare --user --map-root-user --pid --net --ipc --uts --fork --kill-child "$program" 2> "$said" &
sandbox=$!
eventually starts
is "$(field NSpid)" 1

step "The Pod gets a network, an address, a hostname and shared memory. Their makers end; pause keeps them."
shown inside ip link set lo up
shown inside ip address add 192.0.2.1/32 dev lo # of RFC 5737, so nobody's
shown inside hostname pod
shown inside ipcmk --shmem 4096
before=$(owned)
echo "$before"

step "A container serves, another asks it at localhost."
shown serve "hello"
eventually ask
is "$(ask)" hello

step "The server is killed and another one started: the Pod has stayed as it was."
shown pkill -KILL --ns "$pause" --nslist pid busybox
wait "$server" || :
is "$(owned)" "$before"
shown serve "hello again"
eventually ask
is "$(ask)" "hello again"

step "500 processes lose their parents and die. None stays a zombie, and pause is not even woken."
# shellcheck disable=SC2016 # the inner shell expands it
shown inside sh -c 'for _ in $(seq 500); do (sleep 1000 &) ; done'
eventually has_orphans 500
switches=$(switches)
shown pkill -KILL --parent "$pause"
eventually has_orphans 0
is "$(switches)" "$switches"

step "pause is told to stop. With it everything ends that is left in the Pod."
shown kill -TERM "$pause"
status=0
wait "$sandbox" || status=$?
sandbox=
is "$status" 0
is "$(cat "$said")" "Shutting down, got signal: Terminated"
wait "$server" && exit 1
cat "$said"
