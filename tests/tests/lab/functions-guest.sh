#!/bin/sh
# A guest with two functions of the card: writes to both disks, moves a BAR, and reads what it wrote.
disk() {
    for attempt in $(seq 600); do
        for namespace in /sys/bus/pci/devices/0000:00:0$1.0/nvme/nvme*/nvme*n1; do
            [ -b "/dev/${namespace##*/}" ] && echo "/dev/${namespace##*/}" && return
        done
        usleep 100000
    done
}
pattern() {
    yes "$1" | head -c 262144
}
is() {
    pattern "$1" >/tmp/pattern
    echo 3 >/proc/sys/vm/drop_caches
    head -c 262144 "$2" | cmp - /tmp/pattern && echo "$3: ok"
}
echo "functions: $(ls /sys/bus/pci/devices | tr '\n' ' ')"
pattern alice >"$(disk 1)"
pattern bob >"$(disk 2)"
sync
is alice "$(disk 1)" "first disk"
is bob "$(disk 2)" "second disk"

# By hand, without Linux' knowledge: 32 MiB further.
function=/sys/bus/pci/devices/0000:00:01.0
echo 0000:00:01.0 >$function/driver/unbind
low=$(setpci -s 00:01.0 BASE_ADDRESS_0) high=$(setpci -s 00:01.0 BASE_ADDRESS_1)
old=$(printf '0x%x' $(((0x$high << 32) + (0x$low & ~0xf)))) new=$(printf '0x%x' $(((0x$high << 32) + (0x$low & ~0xf) + 0x2000000)))
setpci -s 00:01.0 COMMAND=2:2
before=$(devmem "$old" 32)
setpci -s 00:01.0 COMMAND=0:2
setpci -s 00:01.0 "BASE_ADDRESS_0=$(printf '%x' $((0x$low + 0x2000000)))"
setpci -s 00:01.0 COMMAND=2:2
after=$(devmem "$new" 32)
[ "$before" = "$after" ] && [ "$after" != 0xFFFFFFFF ] && after="as before"
echo "moved: old place $(devmem "$old" 32), new place $after"

# Linux finds it there, or puts it elsewhere.
echo 1 >$function/remove
echo 1 >/sys/bus/pci/rescan
is alice "$(disk 1)" "found again"
