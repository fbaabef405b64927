# A disk and two network devices of the card, bound to vfio-pci: first our driver uses them, then a guest.
yes nitride | head -c 65536 >data
nitride nvme write --on 0000:01:00.0 --input data || exit 1
nitride nvme read --on 0000:01:00.0 --bytes 65536 --output back || exit 1
cmp data back && echo "written and read: the same"
nitride nvme bench --on 0000:01:00.0 --seconds 2 || exit 1
nitride net bench --on 0000:02:00.0 --to 0000:03:00.0 --seconds 2 || exit 1
mkdir -p guest/job
cat >guest/job/start <<'END'
#!/bin/sh
modprobe -a virtio_pci virtio_net
# The shell's own one knows no namespaces.
ip() { /usr/bin/ip "$@"; }
head -c 65536 /dev/nvme0n1 >here
yes nitride | head -c 65536 | cmp - here && echo "guest: the same on the disk"
head -c 4096 /dev/zero | tr '\0' G >block
dd if=block of=/dev/nvme0n1 bs=512 seek=1000 oflag=direct 2>/dev/null || echo "guest: the disk cannot be written"
alice=$(ls /sys/bus/pci/devices/0000:00:02.0/virtio*/net) bob=$(ls /sys/bus/pci/devices/0000:00:03.0/virtio*/net)
ip netns add far && ip link set "$bob" netns far
ip address add 10.0.0.1/24 dev "$alice" && ip link set "$alice" up
ip netns exec far ip address add 10.0.0.2/24 dev "$bob" && ip netns exec far ip link set "$bob" up
echo "guest: $(ping -c 5 -i 0.2 -W 5 10.0.0.2 | grep transmitted)"
END
chmod +x guest/job/start
(cd guest && find . | cpio -o -H newc) >job.cpio 2>/dev/null
cat /guest/base.cpio job.cpio >guest.cpio
nitride run --kernel /guest/vmlinux --initrd guest.cpio --cmdline 'console=ttyS0 panic=-1 quiet' --memory 256M \
    --function 0000:01:00.0 --function 0000:02:00.0 --function 0000:03:00.0
