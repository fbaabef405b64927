#!/bin/sh
# What a guest does: the word behind job= on its command line.
case " $(cat /proc/cmdline) " in
*" job=off "*)
    echo "guest has $(nproc) processors, $(ls /sys/firmware/acpi/tables | tr '\n' ' ')"
    poweroff -f ;;
*" job=reset "*)
    echo "guest has $(nproc) processors"
    # The console is slower than a reset, and loses what it has not yet sent.
    usleep 300000
    reboot -f ;;
*" job=panic "*)
    echo c >/proc/sysrq-trigger ;;
*" job=button "*)
    modprobe -a button evdev
    while [ ! -e /dev/input/event0 ]; do usleep 50000; done
    # Only who has the device open is told of the button.
    exec 3</dev/input/event0
    echo "guest is ready"
    head -c 24 <&3 >/dev/null
    echo "guest saw the power button" ;;
*" job=type "*)
    echo "guest is ready"
    read -r line
    echo "guest got: $line"
    sleep 600 ;;
esac
