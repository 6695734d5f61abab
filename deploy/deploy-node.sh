#!/bin/sh
# deploy-node.sh: make this machine a node of a fleet, without Ansible.
#
#   sudo deploy/deploy-node.sh PROVIDER REGION NUMBER --wheel FILE --creds FILE --bus URL [options]
#
# For a fresh Debian 12 or 13, or Ubuntu 24.04. The node's id is blazz-PROVIDER-REGION-NUMBER. It
# lays everything out as the Ansible roles do, so they can take the machine over later. Run it again
# for another version or other settings: what is as it should be stays, and the node is restarted
# only if something changed. All is checked before anything is touched.
#
#   --wheel FILE          blazz-<version>-py3-none-any.whl, from `./justw wheel`
#   --requirements FILE   the lock of that version (default: requirements.lock of this checkout)
#   --creds FILE          from `blazz identity issue node blazz-PROVIDER-REGION-NUMBER`
#   --bus URL             tls://host:4222; once for each server
#   --bus-ca FILE         the authority of the bus's certificates
#   --timing NAME         fast (one NATS server) or cluster (default: cluster with several --bus)
#   --sessions-max N      default 30
#   --address IP          the address that WhatsApp sees (default: that of the way out)
#   --http-host IP        where /metrics is served (default 127.0.0.1)
#   --chromium FILE       a browser that is installed already; Ubuntu needs one, its package is a snap
#   --no-start            install only: for images of machines
#   --dry-run             check everything, say what would be done, do nothing
#
# Exit codes: 0 done, 1 failed, 2 nothing was touched: something is missing (all of it is said).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
root=/opt/blazz
etc=/etc/blazz
state=/var/lib/blazz
unit=blazz-node.service
ready_limit_s=120

say() { printf 'deploy-node: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# ---------------------------------------------------------------- what was asked

usage() { sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2; }

wheel='' creds='' bus='' bus_ca='' timing='' sessions_max=30 address='' chromium=''
requirements=$here/../requirements.lock
http_host=127.0.0.1
http_port=9464
start=yes dry=no servers=0

case "${1-}" in '' | -*) usage ;; esac
[ "$#" -ge 3 ] || usage
provider=$1 region=$2 number=$3
shift 3
while [ "$#" -gt 0 ]; do
    case $1 in
        --no-start) start=no; shift; continue ;;
        --dry-run) dry=yes; shift; continue ;;
        -h | --help) usage ;;
    esac
    [ "$#" -ge 2 ] || { say "$1 needs a value"; exit 2; }
    case $1 in
        --wheel) wheel=$2 ;;
        --requirements) requirements=$2 ;;
        --creds) creds=$2 ;;
        --bus) bus="$bus${bus:+, }\"$2\""; servers=$((servers + 1)) ;;
        --bus-ca) bus_ca=$2 ;;
        --timing) timing=$2 ;;
        --sessions-max) sessions_max=$2 ;;
        --address) address=$2 ;;
        --http-host) http_host=$2 ;;
        --chromium) chromium=$2 ;;
        *) say "there is no option $1"; exit 2 ;;
    esac
    shift 2
done
node_id=blazz-$provider-$region-$number
if [ -z "$timing" ]; then
    if [ "$servers" -gt 1 ]; then timing=cluster; else timing=fast; fi
fi

# ---------------------------------------------------------------- is all there that it needs?

problems=0
lacking() { problems=$((problems + 1)); say "missing: $*"; }
matches() { printf '%s\n' "$1" | grep -Eqx -- "$2"; }

distribution='' release=''
if [ -r /etc/os-release ]; then
    # shellcheck source=/dev/null
    distribution=$(. /etc/os-release && printf '%s' "${ID-}")
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && printf '%s' "${VERSION_ID-}")
fi
case $distribution-$release in
    debian-12 | debian-13 | ubuntu-24.04) ;;
    *) lacking "Debian 12 or 13, or Ubuntu 24.04 (this is ${distribution:-unknown} $release)" ;;
esac
[ "$(id -u)" = 0 ] || [ "$dry" = yes ] || lacking "root's rights: run it with sudo"
matches "$provider" '[a-z0-9]+' || lacking "a provider of a-z and 0-9, such as hetzner"
matches "$region" '[a-z0-9]+(-[a-z0-9]+)*' || lacking "a region such as fsn1 or id-cgk"
matches "$number" '[1-9][0-9]{0,4}' || lacking "a number from 1"
matches "$sessions_max" '[0-9]{1,4}' || lacking "a number for --sessions-max"
matches "$timing" 'fast|cluster' || lacking "--timing fast or cluster"
for one in "$address" "$http_host"; do
    matches "$one" '[0-9a-fA-F.:]*' || lacking "an address instead of $one"
done
if [ "$start" = yes ] && [ ! -d /run/systemd/system ]; then
    lacking "systemd, running (--no-start installs without it)"
fi

version=''
case ${wheel##*/} in
    '') lacking "--wheel FILE" ;;
    blazz-*-py3-none-any.whl)
        version=${wheel##*/blazz-}
        version=${version%-py3-none-any.whl}
        [ -r "$wheel" ] || lacking "the wheel $wheel"
        matches "$version" '[0-9][0-9A-Za-z.+!]*' || lacking "a version in the wheel's name"
        ;;
    *) lacking "a wheel of Blazz: ${wheel##*/} is none" ;;
esac
if [ ! -r "$requirements" ]; then
    lacking "the lock $requirements (--requirements FILE)"
elif ! grep -q -- '--hash=sha256:' "$requirements"; then
    lacking "hashes in $requirements"
fi

# The name stands in the credential's JWT, after the first dot.
creds_name() {
    _claims=$(sed -n '/BEGIN NATS USER JWT/{n;p;q;}' "$1" | cut -d. -f2 | tr '_-' '/+')
    while [ $((${#_claims} % 4)) -ne 0 ]; do _claims="$_claims="; done
    printf '%s' "$_claims" | base64 -d 2>/dev/null | grep -o '"name":"[^"]*"' | cut -d'"' -f4
}
if [ -z "$creds" ]; then
    lacking "--creds FILE: blazz identity issue node $node_id --out FILE"
elif [ ! -r "$creds" ]; then
    lacking "the credentials $creds"
elif ! grep -q 'BEGIN USER NKEY SEED' "$creds"; then
    lacking "credentials in $creds: that is no file of blazz identity"
elif [ "$(creds_name "$creds")" != "$node_id" ]; then
    lacking "credentials of $node_id: $creds is those of $(creds_name "$creds")"
fi
[ -n "$bus" ] || lacking "--bus URL"
printf '%s\n' "$bus" | grep -Eqx '("(tls|nats)://[A-Za-z0-9.:-]+"(, )?)*' ||
    lacking "--bus as tls://host:4222"
[ -z "$bus_ca" ] || grep -qs 'BEGIN CERTIFICATE' "$bus_ca" || lacking "a certificate in $bus_ca"

# Ubuntu's package is a snap, which does not start from a unit of systemd.
packages='ca-certificates fonts-liberation libatomic1 python3-venv tzdata'
if [ -n "$chromium" ]; then
    [ -x "$chromium" ] || lacking "a browser at $chromium"
elif [ "$distribution" = ubuntu ]; then
    lacking "--chromium FILE: Ubuntu's own package is a snap"
else
    packages="$packages chromium"
    chromium=/usr/bin/chromium
fi
for file in "$here/systemd/$unit" "$here/apparmor/blazz-chromium"; do
    [ -r "$file" ] || lacking "$file: run it from a checkout"
done
if [ -r "$etc/node.toml" ] && ! grep -q "^node_id = \"$node_id\"\$" "$etc/node.toml"; then
    lacking "a machine without a node: $etc/node.toml is of another"
fi
if grep -qs 'Ansible managed' "$etc/node.toml"; then
    lacking "a machine that is not Ansible's: $etc/node.toml would be written back and forth"
fi
mark=$root/releases/$version/.blazz-wheel
sum=$([ ! -r "$wheel" ] || sha1sum <"$wheel" | cut -d' ' -f1)
if [ -n "$version" ] && [ -e "$mark" ] && [ "$(cat "$mark")" != "$sum" ]; then
    lacking "a version of its own for this wheel: another $version is installed"
fi
if [ "$problems" -gt 0 ]; then
    say "nothing was touched"
    exit 2
fi

# ---------------------------------------------------------------- doing it

changed=no
run() { # what is said, then a command
    if [ "$dry" = yes ]; then say "would $1"; return; fi
    say "$1"
    shift
    "$@"
}
# Puts stdin there, if it is not there already: file, owner, mode.
put() {
    _new=$(mktemp)
    cat >"$_new"
    written=no
    if [ -e "$1" ] && cmp -s "$_new" "$1"; then rm -f "$_new"; return; fi
    written=yes changed=yes
    if [ "$dry" = yes ]; then
        say "would write $1 ($2, $3)"
    else
        say "write $1"
        install -D -m "$3" -o "${2%:*}" -g "${2#*:}" "$_new" "$1.new" && mv -f "$1.new" "$1"
    fi
    rm -f "$_new"
}
directory() { # path, owner, mode
    [ "$dry" = yes ] || install -d -m "$3" -o "${2%:*}" -g "${2#*:}" "$1"
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    [ "${BLAZZ_APT_UPDATE:-yes}" = no ] || apt-get update -qq
    # shellcheck disable=SC2086 # words
    apt-get install -y -qq --no-install-recommends $packages >/dev/null
}
# Words of what is not installed yet.
absent=''
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        absent="$absent $package"
done
[ -z "$absent" ] || run "install the packages$absent" install_packages

make_user() {
    getent group blazz >/dev/null || groupadd --system blazz
    useradd --system --gid blazz --home-dir "$state" --no-create-home \
        --shell /usr/sbin/nologin --comment Blazz blazz
}
getent passwd blazz >/dev/null || run "make the user blazz" make_user
directory "$root" root:root 0755
directory "$root/releases" root:root 0755
directory "$etc" root:blazz 0750
directory "$etc/credentials" root:root 0700
directory "$state" root:blazz 0755

# A release is whole once its mark is there; what is not whole is begun anew.
install_release() {
    _home=$root/releases/$version
    rm -rf "$_home"
    python3 -m venv "$_home"
    "$_home/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
        --require-hashes -r "$requirements"
    "$_home/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
        --no-deps "$wheel"
    printf '%s\n' "$sum" >"$mark.new" && mv "$mark.new" "$mark"
}
[ -e "$mark" ] || run "install Blazz $version into $root/releases/$version" install_release

address_of_the_way_out() {
    python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("192.0.2.1", 9)); print(s.getsockname()[0])' 2>/dev/null || echo 127.0.0.1
}
[ -n "$address" ] || address=$(address_of_the_way_out)

tls=''
[ -z "$bus_ca" ] || tls="
tls = { ca_file = \"$etc/bus-ca.pem\" }"
put "$etc/node.toml" root:blazz 0640 <<EOF
# Written by deploy-node.sh; no secrets. Every setting: swarm_node/config.py.
node_id = "$node_id"
provider = "$provider"
region = "$region"
address = "$address"
data_dir = "$state/node"
sessions_max = $sessions_max
timing = "$timing"
http_host = "$http_host"
http_port = $http_port

[bus]
servers = [$bus]
creds_file = "\$CREDENTIALS_DIRECTORY/node.creds"$tls

[chromium]
executable = "$chromium"
EOF
put "$etc/credentials/node.creds" root:root 0600 <"$creds"
[ -z "$bus_ca" ] || put "$etc/bus-ca.pem" root:blazz 0644 <"$bus_ca"
put "/etc/systemd/system/$unit" root:root 0644 <"$here/systemd/$unit"
# Where it restricts user namespaces, AppArmor must let Chromium's own sandbox make its own.
if [ -e /proc/sys/kernel/apparmor_restrict_unprivileged_userns ]; then
    put /etc/apparmor.d/blazz-chromium root:root 0644 <"$here/apparmor/blazz-chromium"
    [ "$written" = no ] ||
        run "load AppArmor's profile" apparmor_parser -r /etc/apparmor.d/blazz-chromium
fi

switch() {
    ln -sfn "releases/$version" "$root/current.new"
    mv -fT "$root/current.new" "$root/current"
}
if [ "$(readlink "$root/current" 2>/dev/null)" != "releases/$version" ]; then
    changed=yes
    run "make $version the current release" switch
fi

if [ "$start" = no ]; then
    [ "$dry" = yes ] || say "installed; nothing was started"
    exit 0
fi
start_node() {
    systemctl daemon-reload
    systemctl enable --quiet "$unit"
    # A stop ends every session with a last snapshot: minutes, on a full node.
    systemctl restart "$unit"
}
if [ "$changed" = yes ]; then
    run "start the node" start_node
elif ! systemctl is-active --quiet "$unit"; then
    run "start the node" start_node
else
    say "nothing changed; the node goes on"
fi
[ "$dry" = no ] || exit 0

"$root/current/bin/python" - "http://$http_host:$http_port/readyz" "$ready_limit_s" <<'EOF' ||
import sys, time, urllib.request
url, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    try:
        urllib.request.urlopen(url, timeout=2)
        sys.exit(0)
    except OSError:
        time.sleep(1)
sys.exit(1)
EOF
    die "the node is not ready after $ready_limit_s s: journalctl -u $unit"
"$root/current/bin/blazz" node self-test --config "$etc/node.toml" --expect-version "$version" ||
    die "the node runs, but its self-test says no"
say "$node_id runs $version"
