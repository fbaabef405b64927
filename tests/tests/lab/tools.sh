# Two network devices of one network, each in a network namespace, set up with ethtool and ip.
modprobe -a virtio_pci virtio_net 8021q
# The shell's own one knows no namespaces.
ip() { /usr/bin/ip "$@"; }
interface() { ls "/sys/bus/pci/devices/0000:0$1:00.0/"virtio*/net; }
received() { "$@" | sed -n 's/.* transmitted, \([0-9]*\) .*received.*/\1/p'; }
alice=$(interface 1) bob=$(interface 2)
ip netns add far
far() { ip netns exec far "$@"; }
ip link set "$bob" netns far && ip link set "$alice" up && far ip link set "$bob" up || exit 1
ip address add 10.0.0.1/24 dev "$alice" && far ip address add 10.0.0.2/24 dev "$bob" || exit 1

ethtool -i "$alice" | grep '^driver'
ethtool -k "$alice" | grep -E '^[rt]x-checksumming: on' | sed 's/ *\[fixed\]//'
ethtool -L "$alice" combined 2 && far ethtool -L "$bob" combined 2
echo "channels: $(ethtool -l "$alice" | awk '/^Combined/ { n[i++] = $2 } END { print n[1] " of " n[0] }')"

ip link set "$alice" mtu 1300 && echo "mtu $(cat "/sys/class/net/$alice/mtu")"
far ip link set "$bob" mtu 1450 2>/dev/null || echo "mtu 1400 refused"
ip link set "$alice" mtu 1500

# The owner gave alice one address: frames from another one do not pass.
own=$(cat "/sys/class/net/$alice/address")
for address in 02:4e:54:00:00:77 "$own"; do
    ip link set "$alice" address "$address" || exit 1
    far ip neighbour flush all
    echo "address $(cat "/sys/class/net/$alice/address"), $(received ping -c 3 -i 0.2 -W 2 10.0.0.2) received from there"
done

ip link add link "$bob" name tag netns far type vlan id 10 2>/dev/null || far ip link add link "$bob" name tag type vlan id 10
ip link add link "$alice" name tag type vlan id 10
ip address add 10.1.0.1/24 dev tag && ip link set tag up
far ip address add 10.1.0.2/24 dev tag && far ip link set tag up
echo "vlan: $(received ping -c 3 -i 0.2 -W 5 10.1.0.2) received"

ip link set "$alice" promisc on && ip -d link show "$alice" | grep -q 'promiscuity 1' && echo "promiscuous: on"
ip link set "$alice" promisc off

# Several flows take both receive queues.
far iperf3 --server --daemon >/dev/null
iperf3 --client 10.0.0.2 --parallel 8 --bytes 2M >iperf3.log 2>&1 && echo "iperf3: done" || tail -n 2 iperf3.log
for host in 3 4 5 6 7 8; do
    ip address add "10.0.0.$host/24" dev "$alice"
    ping -c 1 -W 2 -I "10.0.0.$host" 10.0.0.2 >/dev/null
done
echo "receive queues in use: $(far ethtool -S "$bob" | grep -E 'rx_queue_[01]_packets: [1-9]' | wc -l)"

# A function that is reset under load: Linux loses the device, until it is bound again. The other one is not touched.
(ping -i 0.01 -c 300 -W 1 10.0.0.2 >/dev/null) & load=$!
sleep 0.5
echo 1 >/sys/bus/pci/devices/0000:02:00.0/reset
wait $load
before=$(cat "/sys/class/net/$alice/statistics/tx_packets")
ping -c 3 -i 0.2 -W 1 10.0.0.2 >/dev/null
sleep 1
[ "$(cat "/sys/class/net/$alice/statistics/tx_packets")" -gt "$before" ] && echo "reset under load: the other device goes on"
echo 0000:02:00.0 >/sys/bus/pci/drivers/virtio-pci/unbind && echo 0000:02:00.0 >/sys/bus/pci/drivers/virtio-pci/bind
bob=$(interface 2)
ip link set "$bob" netns far && far ip address add 10.0.0.2/24 dev "$bob" && far ip link set "$bob" up
echo "bound again: $(received ping -c 3 -i 0.2 -W 5 10.0.0.2) received"
dmesg | grep -E 'NETDEV WATCHDOG|BUG|Oops'
exit 0
