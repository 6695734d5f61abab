#!/bin/sh
# Makes one host of the lab out of this machine and becomes its PID 1: systemd.
#
#   boot.sh NAME DIR ADDRESS/LENGTH GATEWAY WHEELHOUSE
#
# It is started in new mount, PID, UTS, IPC and network namespaces with one end of a veth pair named
# `uplink` in it. /usr, /etc and /var are this machine's with a writable layer of the host's own
# above; all else is the host's alone. Nothing here outlives the namespaces but DIR, the lab's.
set -eu
name=$1 dir=$2 address=$3 gateway=$4 wheelhouse=$5
root=$dir/root

mount --make-rprivate /
mkdir -p "$root"
mount -t tmpfs -o mode=755,size=4g tmpfs "$root"
mkdir "$root/.layers"
for part in usr etc var; do
    mkdir "$root/$part" "$root/.layers/$part" "$root/.layers/$part.work"
    mount -t overlay overlay "$root/$part" \
        -o "lowerdir=/$part,upperdir=$root/.layers/$part,workdir=$root/.layers/$part.work"
done
for link in bin sbin lib lib32 lib64 libx32; do
    [ ! -L "/$link" ] || cp -a "/$link" "$root/$link"
done
mkdir "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/opt" "$root/srv" "$root/home" \
    "$root/mnt" "$root/media" "$root/boot" "$root/old"
mkdir -m 700 "$root/root"
mkdir -m 1777 "$root/tmp"

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"

# This machine's own services, identity and secrets of sshd do not come along.
rm -rf "$root/etc/systemd/system" "$root/etc/ssh" "$root/etc/machine-id" "$root/etc/hosts" \
    "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/pip.conf" "$root/etc/environment" \
    "$root/var/log" "$root/var/tmp" "$root/var/lib/systemd"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/var/log" "$root/var/lib/systemd"
mkdir -m 1777 "$root/var/tmp"
cp -R "$dir/../files/." "$root/"
mkdir "$root/srv/wheelhouse"
mount --bind "$wheelhouse" "$root/srv/wheelhouse"
mount -o remount,bind,ro "$root/srv/wheelhouse"
chown -R 0:0 "$root/etc/ssh" "$root/root"
chmod 600 "$root/etc/ssh/ssh_host_ed25519_key" "$root/root/.ssh/authorized_keys"
chmod 700 "$root/root/.ssh"
: >"$root/etc/machine-id"
printf '%s\n' "$name" >"$root/etc/hostname"
ln -s /lib/systemd/system/ssh.service \
    "$root/etc/systemd/system/multi-user.target.wants/ssh.service"

ip link set lo up
ip address add "$address" dev uplink
ip link set uplink up
ip route add default via "$gateway"

cd "$root"
pivot_root . old
umount -l old
rmdir /old
# As on a booted machine, and needed: a unit's credentials are mounted in a namespace of their own.
mount --make-rshared /
mkdir /run/systemd
echo blazz-lab >/run/systemd/container
hostname "$name"
exec env -i container=blazz-lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=0
