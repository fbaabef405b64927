# The guest's part of the demo in the network; guest.sh reads it. Each guest has a device of two tenants, whose addresses are of the same
# subnet: what tells them apart is the card's switch alone. The second tenant's device is in a network namespace of its own.
modprobe -a virtio_pci virtio_net || fail "the kernel's virtio_net driver"
interface() {
    ls "/sys/bus/pci/devices/0000:00:0$1.0/"virtio*/net
}
first=$(interface 2) && second=$(interface 3) || fail "the network devices are not driven"
say "$(lspci -s 00:02.0)"
say "$first: $(ethtool -i "$first" | grep -E '^(driver|bus-info)' | tr '\n' ' ')$(cat "/sys/class/net/$first/address") mtu $(cat "/sys/class/net/$first/mtu")"
ethtool -k "$first" | grep -q 'tx-checksumming: on' || fail "no checksum offload"
# The shell's own one knows no namespaces.
ip() { /usr/bin/ip "$@"; }
second_tenant() {
    ip netns exec second "$@"
}
ip netns add second && ip link set "$second" netns second || fail "the second tenant's namespace"
up() {
    $3 ip address add "$2/24" dev "$1" && $3 ip link set "$1" up || fail "$1 does not come up"
}
reaches() {
    $2 ping -c 5 -i 0.2 -W 5 "$1" >/tmp/ping || fail "$1 does not answer: $(tail -n 2 /tmp/ping)"
    sed -n 's/^round-trip min.avg.max = //p' /tmp/ping
}
measure() {
    iperf3 --client "$bob" --bytes 8M "$@" >/tmp/iperf3 2>&1 || fail "iperf3: $(tail -n 1 /tmp/iperf3)"
    sed -n 's/.*  \([0-9.]* .bits\/sec\).*receiver/\1/p' /tmp/iperf3
}
alice=192.0.2.1 bob=192.0.2.2 host=192.0.2.3 bobs_other=192.0.2.4 alices_other=192.0.2.5
# What nc reads where it only writes: it would hang up at an end of file.
mkfifo /tmp/silence
if [ "$role" = alice ]; then
    up "$first" $alice && up "$second" $alices_other second_tenant
    for attempt in $(seq 200); do
        ping -c 1 -W 1 $bob >/dev/null && break
    done
    say "ping bob: $(reaches $bob) (min/avg/max)"
    [ "$outside" = yes ] && say "ping the host behind the Ethernet port: $(reaches $host)"
    say "ping bob as the second tenant: $(reaches $bobs_other second_tenant)"
    ping -c 3 -W 2 $bobs_other >/dev/null && fail "the first tenant reaches the second one"
    say "the second tenant is unreachable for the first"
    say "iperf3 to bob: $(measure)"
    say "iperf3 from bob: $(measure --reverse)"
    nc $bob 7000 </four || fail "nc"
    say "sent 4 MiB to bob"
    # He may not listen yet.
    until nc $bob 7001 </dev/null; do usleep 100000; done
else
    up "$first" $bob && up "$second" $bobs_other second_tenant
    iperf3 --server --daemon >/dev/null || fail "iperf3 --server"
    nc -l -p 7000 >/tmp/four <>/tmp/silence
    cmp /four /tmp/four || fail "the 4 MiB from alice are not what she sent"
    say "the 4 MiB from alice are what she sent"
    nc -l -p 7001 </dev/null >/dev/null
fi
dmesg | grep -E 'virtio.*(error|fail|timeout)|NETDEV WATCHDOG' && fail "the kernel's log has errors"
say "interrupts of $first: $(grep virtio0 /proc/interrupts | awk -v cpus="$(nproc)" '{ for (i = 2; i <= cpus + 1; i++) n += $i } END { print n }')"
