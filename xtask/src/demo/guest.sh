#!/bin/sh
# A guest's part of the demo: puts a file tree on the card's disk with the kernel's own driver and reads it back; then it uses the network.
# $role, alice or bob, and $outside, whether the host is behind the card, are from the kernel's command line.
# Each line that starts with "guest:" is shown; the last one is the verdict.
say() {
    echo "guest: $*"
}
fail() {
    say "FAILED: $*"
    poweroff -f
}
for attempt in $(seq 100); do
    [ -b /dev/nvme0n1 ] && break
    usleep 100000
done
[ -b /dev/nvme0n1 ] || fail "the kernel's nvme driver brought up no disk: $(dmesg | grep -i nvme | tail -n 1)"
device=$(basename "$(readlink -f /sys/class/nvme/nvme0/device)")
driver=$(basename "$(readlink -f /sys/class/nvme/nvme0/device/driver)")
[ "$driver" = nvme ] || fail "the disk at $device is driven by $driver"
say "$(lspci -s "$device")"
lspci -vvv -s "$device" >/tmp/lspci 2>&1 || fail "lspci -vvv"
if grep -q -e '!!!' -e '<access denied>' -e 'pcilib:' /tmp/lspci; then
    cat /tmp/lspci
    fail "lspci -vvv complains"
fi
nvme id-ctrl /dev/nvme0 >/tmp/id || fail "nvme id-ctrl"
say "nvme id-ctrl:$(grep -E '^(mn|sn|fr) ' /tmp/id | sed 's/ *: */ /; s/ *$//' | tr '\n' ' ' | sed 's/^/ /; s/ $//')"
say "mkfs.ext4 on /dev/nvme0n1, $(($(cat /sys/block/nvme0n1/size) / 2048)) MiB"
mkfs.ext4 -q /dev/nvme0n1 || fail "mkfs.ext4"
mount -t ext4 /dev/nvme0n1 /mnt || fail "mount"
say "copying $(find /tree -type f | wc -l) files, $(du -sm /tree | cut -f1) MiB"
cp -a /tree /mnt/tree || fail "cp"
sync
echo 3 >/proc/sys/vm/drop_caches
say "verifying every checksum"
(cd /mnt/tree && sha256sum -c -s /tree.sha256) || fail "a checksum differs"
umount /mnt || fail "umount"
# The kernel logs each failed command, each timeout and each reset.
dmesg >/tmp/dmesg
if grep -E 'I/O error|nvme.*(timeout|resetting|abort)|EXT4-fs error' /tmp/dmesg; then
    fail "the kernel's log has errors"
fi
say "interrupts: $(grep nvme0 /proc/interrupts | awk -v cpus="$(nproc)" '{ for (i = 2; i <= cpus + 1; i++) n += $i } END { print n }')"
. /network.sh
say "PASSED"
