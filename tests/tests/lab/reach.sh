# Two network devices of the card in two network namespaces of the lab's Linux, which reach each other through the card alone; a third
# is in another network.
modprobe -a virtio_pci virtio_net
# The shell's own one knows no namespaces.
ip() { /usr/bin/ip "$@"; }
interface() { ls /sys/bus/pci/devices/0000:0$1:00.0/virtio*/net; }
alice=$(interface 1) bob=$(interface 2) eve=$(interface 3)
echo driver: $(basename $(readlink -f /sys/class/net/$alice/device/driver))
echo address: $(cat /sys/class/net/$bob/address) mtu $(cat /sys/class/net/$bob/mtu)
space() {
    ip netns add $1 && ip link set $2 netns $1 || exit 1
    ip -n $1 addr add $3/24 dev $2 && ip -n $1 link set $2 up || exit 1
}
space bob $bob 10.0.0.2
space eve $eve 10.0.0.3
ip addr add 10.0.0.1/24 dev $alice && ip link set $alice up || exit 1
ping -c 10 -i 0.2 -W 10 10.0.0.2 | grep received
ping -c 2 -W 2 10.0.0.3 | grep received
dd if=/dev/urandom of=file bs=1M count=4 2>/dev/null
# What a listener reads never ends, for it would hang up then.
mkfifo silence
ip netns exec bob nc -l -p 7000 >copy <>silence & receiver=$!
sleep 1
nc 10.0.0.2 7000 <file
wait $receiver
cmp file copy && echo forth: the same
nc -l -p 7001 >back <>silence & receiver=$!
sleep 1
ip netns exec bob nc 10.0.0.1 7001 <copy
wait $receiver
cmp file back && echo back: the same
ip link set $alice down && ip link set $alice up && ping -c 3 -W 10 10.0.0.2 | grep received
device=0000:01:00.0 driver=/sys/bus/pci/devices/0000:01:00.0/driver
echo 1 >/sys/bus/pci/devices/$device/reset 2>/dev/null
echo $device >$(readlink -f $driver)/unbind && echo $device >/sys/bus/pci/drivers/virtio-pci/bind
alice=$(interface 1)
ip addr add 10.0.0.1/24 dev $alice && ip link set $alice up && ping -c 3 -W 10 10.0.0.2 | grep received
dmesg | grep -iE "virtio|$alice" | grep -iE 'error|fail|timeout|hung|NEEDS_RESET'
exit 0
