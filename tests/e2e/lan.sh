#!/usr/bin/env bash
# Hosts on a switch, each a network namespace, with a coordinator on the first. Sourced, as root of new namespaces, by scripts
# that set `programs` and `folder`.

mount -t tmpfs tmpfs /run
ip netns add switch
ip -n switch link add lan type bridge
ip -n switch link set lan up

# Host N has the address 10.77.0.N.
make_host() {
  ip netns add "host$1"
  ip link add cable netns "host$1" type veth peer name "port$1" netns switch
  ip -n switch link set "port$1" master lan up
  ip -n "host$1" addr add "10.77.0.$1/24" dev cable
  ip -n "host$1" link set lo up
  ip -n "host$1" link set cable up
}

# What host N sends or should get is lost without a word, and from `plug_in` on no more.
pull_out() { ip -n switch link set "port$1" down; }
plug_in() { ip -n switch link set "port$1" up; }
# Hosts that are `on` cannot reach one another, but all others.
isolate() { ip -n switch link set "port$1" type bridge_slave isolated "$2"; }

pids=()
# The workers leave first, as they would before their coordinator goes.
stop() {
  for pid in "${pids[@]:1}" "${pids[0]}"; do
    kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
  done
}
trap stop EXIT
export RUST_LOG=info

start_coordinator() {
  ip netns exec host1 "$programs/kindred-coordinator" --listen 10.77.0.1:7460 --tls auto --state "$folder/coordinator" "$@" \
    >"$folder/coordinator.log" 2>&1 &
  pids+=($!)
  for _ in $(seq 100); do
    [ -s "$folder/coordinator/admin-token" ] && break
    sleep 0.1
  done
}

# A worker needs nothing but a join token: the coordinator's address is in it, and its data address follows from the route there.
start_worker() {
  local join
  join=$(kindred nodes join-token)
  ip netns exec "host$1" "$programs/kindred-worker" --join "$join" --name "host$1" \
    --state "$folder/worker$1" --jobs-dir "$folder/jobs$1" --data-root "$folder/data" \
    >"$folder/worker$1.log" 2>&1 &
  pids+=($!)
}

kindred() {
  ip netns exec host1 "$programs/kindred" --coordinator 10.77.0.1:7460 --tls-ca "$folder/coordinator/tls/ca.pem" \
    --token-file "$folder/coordinator/admin-token" "$@"
}
