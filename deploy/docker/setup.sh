#!/bin/sh
# setup.sh: make what compose.yaml needs and must never be in an image: the bus's identities, the
# vault's master key, and who may sign in. Run it again whenever you like: what is there stays, and
# credentials that are half through their life are renewed.
#
#   sudo deploy/docker/setup.sh
#
# BLAZZ_IMAGE names another image, DOCKER another engine (podman).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
image=${BLAZZ_IMAGE:-blazz:0.1.0}
engine=${DOCKER:-docker}
secrets=$here/secrets
container_user=10001
node_id=$(sed -n 's/^node_id = "\(.*\)"$/\1/p' "$here/config/node.toml")

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ "$(id -u)" = 0 ] || die "run it as root: the files belong to the container's user"
[ -n "$node_id" ] || die "config/node.toml names no node_id"
command -v "$engine" >/dev/null || die "there is no $engine on the PATH"
"$engine" image inspect "$image" >/dev/null 2>&1 ||
    die "there is no image $image: $engine build -f deploy/docker/Dockerfile -t $image ."

umask 077
mkdir -p "$secrets/authority" "$secrets/public"

# As root inside, without a network: it only writes into the directory it is given.
blazz() {
    "$engine" run --rm --network none --user 0:0 --cap-drop ALL --cap-add DAC_OVERRIDE \
        --security-opt no-new-privileges --volume "$secrets/authority:/authority" \
        "$image" "$@" >&2
}

blazz identity init --dir /authority
blazz identity issue control-plane control-plane --dir /authority
blazz identity issue node "$node_id" --dir /authority

hand_out() { # from, to: for the container's user alone
    install -m 0400 -o "$container_user" -g "$container_user" "$secrets/authority/$1" "$secrets/$2"
}
hand_out creds/control-plane.control-plane.creds control-plane.creds
hand_out "creds/node.$node_id.creds" node.creds
hand_out keys/node-signer.seed node-signer
install -m 0444 "$secrets/authority/nats-identity.conf" "$secrets/public/nats-identity.conf"
chmod 0711 "$secrets"
chmod 0755 "$secrets/public"

if [ ! -f "$secrets/master-key" ]; then
    head -c 32 /dev/urandom | base64 >"$secrets/master-key.new"
    chown "$container_user:$container_user" "$secrets/master-key.new"
    chmod 0400 "$secrets/master-key.new"
    mv "$secrets/master-key.new" "$secrets/master-key"
    say "made secrets/master-key: back it up, without it no snapshot opens"
fi

say "starting NATS, to tell it the accounts"
"$engine" compose -f "$here/compose.yaml" up --detach --wait nats >&2
"$engine" run --rm --network blazz_bus --user 0:0 --cap-drop ALL --cap-add DAC_OVERRIDE \
    --security-opt no-new-privileges --volume "$secrets/authority:/authority" \
    "$image" identity push --dir /authority --server nats://nats:4222 >&2

say "done. Now: $engine compose -f $here/compose.yaml up -d"
say "the first API key: $engine compose -f $here/compose.yaml exec control-plane" \
    "cat /var/lib/blazz/control-plane/api-key"
