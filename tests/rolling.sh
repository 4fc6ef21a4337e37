#!/usr/bin/env bash
# Restarts or replaces all servers of a cluster on this machine, one at a time, each step only
# once the cluster is whole again. The test of rolling work runs it; so can a person:
#
#   tests/rolling.sh FOLDER start ADDRESS...     a new cluster, one server at each address
#   tests/rolling.sh FOLDER restart              each server stops (SIGTERM) and starts again
#   tests/rolling.sh FOLDER replace ADDRESS...   for each server a new one at one of these
#                                                addresses, with a disk and an id of its own;
#                                                then the old one leaves, and its disk is removed
#   tests/rolling.sh FOLDER stop                 kills what runs
#
# FOLDER keeps a folder for each server. Loopback addresses will do: 127.0.1.1 127.0.1.2 127.0.1.3.
# PORTOLAN names the program (target/release/portolan), WAIT the seconds that a step may take (60),
# HCL what else each server is configured with.
set -euo pipefail

program=${PORTOLAN:-$(dirname "$0")/../target/release/portolan}
wait=${WAIT:-60}
usage() { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
folder=$1 word=$2
shift 2
mkdir -p "$folder"

servers() { # the names, oldest first
    ls "$folder" | sort -V
}

address() { cat "$folder/$1/address"; }

runs() { [ -s "$folder/$1/pid" ] && kill -0 "$(cat "$folder/$1/pid")" 2>/dev/null; }

until_so() { # waits until the command after the words succeeds
    local what=$1 end=$((SECONDS + wait))
    shift
    until "$@"; do
        if [ $SECONDS -ge $end ]; then echo "rolling: not within $wait s: $what" >&2; exit 1; fi
        sleep 0.1
    done
}

start() { # a server: its name, then more arguments
    local name=$1 join=()
    shift
    for other in $(servers); do
        [ "$other" = "$name" ] || join+=("-retry-join=$(address "$other")")
    done
    "$program" agent -server -node="$name" -bind="$(address "$name")" -client="$(address "$name")" \
        -data-dir="$folder/$name/data" -pid-file="$folder/$name/pid" -retry-interval=1s -hcl "${HCL:-}" \
        "${join[@]}" "$@" </dev/null >>"$folder/$name/log" 2>&1 &
    until_so "$name runs" runs "$name"
}

is_whole() { # as many voters as there are servers, all healthy, as the first that runs sees it
    local count
    count=$(servers | wc -l)
    for name in $(servers); do
        runs "$name" || return 1
    done
    for name in $(servers); do
        local door peers
        door=http://$(address "$name"):8500
        curl -sf --max-time 5 "$door/v1/operator/autopilot/health" >/dev/null || return 1
        peers=$("$program" operator raft list-peers -http-addr="$door" 2>/dev/null) || return 1
        [ "$(grep -cw true <<<"$peers")" = "$count" ] || return 1
        [ "$(wc -l <<<"$peers")" = $((count + 1)) ] || return 1
    done
}

whole() { until_so "the cluster is whole: $(servers | xargs)" is_whole; }

is_gone() { ! runs "$1"; }

new_folder() { # for the next server, at this address; says its name
    local last name
    last=$(servers | tail -n 1)
    name=n$((${last#n} + 1))
    mkdir -p "$folder/$name"
    echo "$1" >"$folder/$name/address"
    echo "$name"
}

case $word in
start)
    [ $# -gt 0 ] || usage
    [ -z "$(servers)" ] || { echo "rolling: $folder is not empty" >&2; exit 1; }
    mkdir -p "$folder/n1"
    echo "$1" >"$folder/n1/address"
    count=$#
    shift
    for at in "$@"; do new_folder "$at" >/dev/null; done
    for name in $(servers); do start "$name" -bootstrap-expect="$count"; done
    whole
    ;;
restart)
    for name in $(servers); do
        echo "restarting $name"
        kill -TERM "$(cat "$folder/$name/pid")"
        until_so "$name stops" is_gone "$name"
        start "$name"
        whole
    done
    ;;
replace)
    [ $# = "$(servers | wc -l)" ] || { echo "rolling: one new address for each server" >&2; exit 2; }
    for old in $(servers); do
        name=$(new_folder "$1")
        shift
        echo "replacing $old by $name"
        start "$name"
        whole
        "$program" leave -http-addr="http://$(address "$old"):8500"
        until_so "$old is gone" is_gone "$old"
        rm -r "${folder:?}/$old"
        whole
    done
    ;;
stop)
    for name in $(servers); do
        if runs "$name"; then kill -KILL "$(cat "$folder/$name/pid")"; fi
    done
    ;;
*) usage ;;
esac
