# `nitride up` on the lab's host, with the card simulated there: once to the machine's end, and once until a signal.
cat >card.toml <<'END'
sockets = "sockets"
[[volume]]
name = "disk"
image = "disk.img"
size = "16 MiB"
function = "vf0"
[[network]]
function = "net0"
network = 1
mac = "02:4e:54:00:00:01"
[[ethernet]]
network = 1
tap = "nitride0"
END
(cd guest && find . | cpio -o -H newc) >job.cpio 2>/dev/null
cat /guest/base.cpio job.cpio >guest.cpio
cat >alice.toml <<'END'
kernel = "/guest/vmlinux"
initrd = "guest.cpio"
cmdline = "console=ttyS0 panic=-1 quiet"
functions = ["sockets/vf0.sock", "sockets/net0.sock"]
END
cat >topology.toml <<'END'
card = "card.toml"
[[vm]]
name = "alice"
file = "alice.toml"
END
(until /usr/bin/ip address add 10.0.0.2/24 dev nitride0 2>/dev/null; do usleep 100000; done) &
nitride up topology.toml --logs logs >said 2>&1
echo "status: $?"
sed -n 's/^ *\(alice | guest\)/\1/p' said
echo "card: $(grep 'card | card stopped' said)"
echo "left: $(ls sockets 2>/dev/null | wc -l) sockets, $(ls logs | tr '\n' ' ')"
head -c 512 disk.img | grep -q 'written by alice' && echo "disk: ok"

nitride up topology.toml >said 2>&1 & session=$!
until grep -q 'alice | guest' said; do usleep 100000; done
kill -INT $session
wait $session
echo "interrupted: status $?, $(ls sockets 2>/dev/null | wc -l) sockets, $(cat /proc/[0-9]*/comm | grep -c '^nitride') processes"
