#!/bin/sh
# What the lab's host does: load its modules, run the job, hand back its output, status and files.
# The card's functions are of classes 0108 (NVMe) and 0200 (Ethernet). The lab's own devices are not.
if [ -e /job/vfio ]; then
    for device in /sys/bus/pci/devices/*; do
        case "$(cat "$device/class")" in 0x0108* | 0x0200*)
            echo vfio-pci >"$device/driver_override"
        esac
    done
fi
# With the override, loading the driver is enough.
modprobe -a -q virtio_pci virtio_console vfio-pci vfio_iommu_type1 tun
grep -q -w svm /proc/cpuinfo && modprobe kvm-amd
grep -q -w vmx /proc/cpuinfo && modprobe kvm-intel
[ -e /job/hugepages ] && cat /job/hugepages >/proc/sys/vm/nr_hugepages
if [ -x /job/shell ]; then
    setsid cttyhack sh
    exit
fi
# The ports appear a moment after their driver.
port() {
    for attempt in $(seq 3000); do
        for entry in /sys/class/virtio-ports/*; do
            if [ "$(cat "$entry/name" 2>/dev/null)" = "$1" ] && [ -c "/dev/${entry##*/}" ]; then
                echo "/dev/${entry##*/}"
                return
            fi
        done
        usleep 20000
    done
    echo "lab: no port $1" >/dev/console
    poweroff -f
}
output=$(port output) errors=$(port errors) status=$(port status) files=$(port files)
/job/command >"$output" 2>"$errors" </dev/null
code=$?
if [ -x /job/pack ]; then
    /job/pack "$files" 2>/dev/console
fi
echo "$code" >"$status"
# A port drops what the machine has not yet taken when the machine ends.
sleep 0.2
