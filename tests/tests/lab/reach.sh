# Two network devices of the card in two network namespaces of the lab's Linux, which reach each other through the card alone; a third
# is in another network.
modprobe -a virtio_pci virtio_net
interface() { ls /sys/bus/pci/devices/0000:0$1:00.0/virtio*/net; }
alice=$(interface 1) bob=$(interface 2) eve=$(interface 3)
echo driver: $(basename $(readlink -f /sys/class/net/$alice/device/driver))
echo address: $(cat /sys/class/net/$bob/address) mtu $(cat /sys/class/net/$bob/mtu)
other() { nsenter -t $1 -n sh -c "$2"; }
here=$(readlink /proc/self/ns/net)
space() {
    unshare -n sleep 1000 &
    space=$!
    until [ "$(readlink /proc/$space/ns/net)" != "$here" ]; do usleep 10000; done
}
space
set -- $bob $space
space
set -- $1 $2 $eve $space
ip link set $1 netns $2 && ip link set $3 netns $4 || exit 1
ip addr add 10.0.0.1/24 dev $alice && ip link set $alice up || exit 1
other $2 "ip addr add 10.0.0.2/24 dev $1 && ip link set $1 up" || exit 1
other $4 "ip addr add 10.0.0.3/24 dev $3 && ip link set $3 up" || exit 1
ping -c 10 -i 0.2 -W 10 10.0.0.2 | grep received
ping -c 2 -W 2 10.0.0.3 | grep received
dd if=/dev/urandom of=file bs=1M count=4 2>/dev/null
# What a listener reads never ends, for it would hang up then.
mkfifo silence
other $2 'nc -l -p 7000 >copy <>silence' & receiver=$!
sleep 1
nc 10.0.0.2 7000 <file
wait $receiver
cmp file copy && echo forth: the same
nc -l -p 7001 >back <>silence & receiver=$!
sleep 1
other $2 'nc 10.0.0.1 7001 <copy'
wait $receiver
cmp file back && echo back: the same
ip link set $alice down && ip link set $alice up && ping -c 3 -W 10 10.0.0.2 | grep received
device=0000:01:00.0 driver=/sys/bus/pci/devices/0000:01:00.0/driver
echo 1 >/sys/bus/pci/devices/$device/reset 2>/dev/null
echo $device >$(readlink -f $driver)/unbind && echo $device >/sys/bus/pci/drivers/virtio-pci/bind
alice=$(interface 1)
ip addr add 10.0.0.1/24 dev $alice && ip link set $alice up && ping -c 3 -W 10 10.0.0.2 | grep received
dmesg | grep -iE 'virtio|$alice' | grep -iE 'error|fail|timeout|hung|NEEDS_RESET'
exit 0
