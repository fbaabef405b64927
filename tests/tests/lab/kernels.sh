# On the lab's host: guests of every kind of kernel, and every way to end one. One at a time: where QEMU translates, two at
# once now and then hang, or take the host with them. The arguments say where in vmlinux the types of its note segments are:
# without notes it has no PVH entry.
(cd guest && find . | cpio -o -H newc 2>/dev/null) >job.cpio
cat /guest/base.cpio job.cpio >guest.cpio
cp /guest/vmlinux elf
for at in "$@"; do printf '\0' | dd of=elf bs=1 seek="$at" conv=notrunc 2>/dev/null; done

# guest NAME KERNEL COMMAND-LINE OPTION...: runs one and tells its status and what it said.
guest() {
    name=$1 kernel=$2 line=$3
    shift 3
    timeout 120 nitride run --kernel "$kernel" --initrd guest.cpio --cmdline "console=ttyS0 panic=-1 quiet $line" "$@" \
        >"$name.out" 2>"$name.err" <"${input:-/dev/null}"
    echo "$name: status $? $(grep '^guest' "$name.out" | tr '\r\n' '  ')"
}
# until_true SECONDS WHAT COMMAND...: waits until a command succeeds, and gives up the whole test where it does not.
until_true() {
    deadline=$(($(date +%s) + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$deadline" ] || { echo "waited in vain: $what"; tail -n 5 ./*.out ./*.err; exit 1; }
        usleep 100000
    done
}
# Waits until a guest has said a line that begins with `guest WORD`.
says() {
    until_true 90 "for $1 to say $2" grep -q "^guest $2" "$1.out"
}
# Waits until a machine answers on its control socket.
answers() {
    until_true 30 "for an answer on $1.sock" nitride vm -s "$1.sock" status
}

guest bzimage bzImage job=reset
guest pvh /guest/vmlinux job=off --cpus 4
guest elf elf 'job=reset reboot=t' --cpus 8
echo "crashed: $(cat elf.err)"
guest panic /guest/vmlinux job=panic

guest button /guest/vmlinux job=button --api-socket button.sock &
says button 'is ready'
echo "button status: $(nitride vm -s button.sock status | tr '\n' ' ')"
echo "button exits: $(nitride vm -s button.sock --json exits)"
nitride vm -s button.sock power-button
wait

mkfifo keys
input=keys guest typed /guest/vmlinux job=type &
exec 3>keys
says typed 'is ready'
printf 'forty-two\n' >&3
says typed got
printf '\001x' >&3
wait

# None of these gets far: what counts is how it ends.
guest api /guest/vmlinux job=off --api-socket api.sock &
answers api
nitride vm -s api.sock stop
wait
for signal in TERM INT; do
    name=sig$(echo $signal | tr A-Z a-z)
    nitride run --kernel /guest/vmlinux --initrd guest.cpio --api-socket "$name.sock" >/dev/null </dev/null &
    answers "$name"
    kill -$signal $!
    wait $!
    echo "$name: status $?"
done
echo "left: $(ls | grep -c sock) sockets"

refused() {
    name=$1
    shift
    nitride run "$@" >refused.out 2>refused.err </dev/null
    echo "$name: status $? $(cat refused.err)"
}
refused "no kernel" --kernel kernels.sh
refused "no daemon" --kernel /guest/vmlinux --function absent.sock
nitride run --kernel /guest/vmlinux --api-socket busy.sock >/dev/null </dev/null &
answers busy
refused "busy api" --kernel /guest/vmlinux --api-socket busy.sock
nitride vm -s busy.sock stop
wait
exit 0
