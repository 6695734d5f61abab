#!/bin/sh
# drain.sh: beside a node, in its pod. Moves the sessions away before the pod stops, and lets them
# come again once it is back. `$DRAINED` tells the node's container that it may stop; `$MARK`, on the
# node's disk, that the drain was ours: what an operator cordoned stays so.
set -u

reach="--api-url http://blazz-control-plane:8080 --key-file /run/secrets/drain/key"

# shellcheck disable=SC2086 # words
leave() {
    blazz node show "$NODE_ID" --output json $reach | grep -Eq '"cordoned": ?true' || : >"$MARK"
    blazz node drain "$NODE_ID" --deadline "$DEADLINE_S" --reason "its pod stops" --yes $reach
    : >"$DRAINED"
    exit 0
}
trap leave TERM

# shellcheck disable=SC2086 # words
while [ -e "$MARK" ]; do
    if blazz node uncordon "$NODE_ID" --yes $reach; then rm -f "$MARK"; else sleep 5; fi
done
while :; do
    # A shell takes a signal only between commands, or while it waits for one.
    sleep 3600 &
    wait $!
done
