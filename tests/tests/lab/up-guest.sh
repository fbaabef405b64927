#!/bin/sh
# Uses its disk and its network interface once.
modprobe -a virtio_pci virtio_net
echo "guest: booted"
echo 'written by alice' | dd of=/dev/nvme0n1 bs=512 conv=sync oflag=direct 2>/dev/null && echo "guest disk: written"
interface=$(ls /sys/bus/pci/devices/0000:00:02.0/virtio*/net)
ip address add 10.0.0.1/24 dev "$interface" && ip link set "$interface" up
echo "guest network: $(ping -c 3 -W 20 10.0.0.2 | grep received)"
