#!/bin/sh
# The first process of the lab's host and of its guests. /job/start says what is to be done.
export PATH=/lab:/usr/bin:/bin HOME=/root TERM=${TERM:-linux}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
ip link set lo up
dmesg -n 4
cd /lab
/job/start
poweroff -f
