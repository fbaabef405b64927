#!/bin/sh
# The demo's session, on this machine or in the lab: a card, a virtual machine with the card's first VF, and the end of both.
# Arguments: the guest's kernel. The working folder holds card.toml and guest.cpio; results stay there.
kernel=$1
socket=sockets/vf0.sock
nitride card card.toml --stats counters.json >card.log 2>&1 &
card=$!
until [ -S $socket ]; do
    if ! kill -0 $card 2>/dev/null; then
        echo "demo: the card's daemon did not start: $(tail -n 1 card.log)" >&2
        exit 1
    fi
    sleep 0.1
done
nitride run --kernel "$kernel" --initrd guest.cpio --cmdline 'console=ttyS0 panic=-1 quiet' \
    --cpus 1 --memory 256M --function $socket --stats exits.json </dev/null
machine=$?
kill -TERM $card
wait $card
daemon=$?
if [ $machine -ne 0 ]; then
    echo "demo: nitride run ended with $machine" >&2
    exit 1
fi
if [ $daemon -ne 0 ]; then
    echo "demo: nitride card ended with $daemon: $(tail -n 1 card.log)" >&2
    exit 1
fi
