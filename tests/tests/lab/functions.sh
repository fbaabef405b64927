# On the lab's host: the simulated card, and a guest with two of its functions.
cat >card.toml <<END
sockets = "sockets"
[[volume]]
name = "alice"
image = "alice.img"
size = "1 MiB"
function = "vf0"
[[volume]]
name = "bob"
image = "bob.img"
size = "1 MiB"
function = "vf1"
END
(cd guest && find . | cpio -o -H newc 2>/dev/null) >job.cpio
cat /guest/base.cpio job.cpio >guest.cpio
nitride card card.toml >card.log 2>&1 &
card=$!
until grep -q '^card ready' card.log; do
    kill -0 $card || { cat card.log >&2; exit 1; }
    usleep 100000
done
nitride run --kernel /guest/vmlinux --initrd guest.cpio --cmdline 'console=ttyS0 panic=-1 quiet' \
    --function sockets/vf0.sock --function sockets/vf1.sock --api-socket api.sock >guest.out </dev/null &
guest=$!
until nitride vm -s api.sock status >/dev/null 2>&1; do
    kill -0 $guest || exit 1
    usleep 100000
done
nitride run --kernel /guest/vmlinux --function sockets/vf0.sock >busy.out 2>&1 </dev/null
echo "busy function: status $? $(cat busy.out)"
wait $guest
echo "guest: status $?"
cat guest.out
kill -TERM $card
wait $card
echo "daemon: status $?"
for name in alice bob; do
    yes $name | head -c 262144 >pattern
    head -c 262144 $name.img | cmp - pattern && echo "$name: ok"
done
exit 0
