//! What takes system calls that no library wraps: TAP devices and packet sockets.

#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// What comes with a frame of a packet socket.
pub(super) struct Received {
    /// Its `virtio_net_hdr`, in native byte order.
    pub(super) header: [u8; 10],
    /// The VLAN tag that the kernel took out.
    pub(super) tag: Option<[u8; 4]>,
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        let most = request.ifr_name.len() - 1;
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("an interface's name has 1 to {most} bytes"),
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// Makes an opened /dev/net/tun the TAP device `name`.
pub(super) fn become_tap(device: &OwnedFd, name: &str) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) }).map(drop)
}

/// Sets an interface up.
pub(super) fn set_up(name: &str) -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let mut request = request(name)?;
    // SAFETY: SIOCGIFFLAGS reads and writes one ifreq, which `request` is.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) })?;
    // SAFETY: SIOCGIFFLAGS has set this field of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which `request` is.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) }).map(drop)
}

/// A socket for all frames that reach the interface `name`, with a `virtio_net_hdr` in front of each frame both ways.
pub(super) fn packet_socket(name: &str) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointers. Protocol 0: nothing arrives before the socket is bound.
    let socket = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let index = rustix::net::netdevice::name_to_index(&socket, name)?;
    for name in [libc::PACKET_VNET_HDR, libc::PACKET_AUXDATA, libc::PACKET_IGNORE_OUTGOING] {
        option(&socket, name, &1i32)?;
    }
    // SAFETY: both are plain data, for which zeroes are valid.
    let (mut member, mut address): (libc::packet_mreq, libc::sockaddr_ll) = unsafe { (zeroed(), zeroed()) };
    member.mr_ifindex = index as libc::c_int;
    member.mr_type = libc::PACKET_MR_PROMISC as libc::c_ushort;
    option(&socket, libc::PACKET_ADD_MEMBERSHIP, &member)?;
    address.sll_family = libc::AF_PACKET as libc::c_ushort;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as libc::c_int;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is a sockaddr_ll of that length.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

fn option<T>(socket: &OwnedFd, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: `value` points to `length` bytes.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, name, value, length) }).map(drop)
}

/// The next frame of a packet socket, as [`packet_socket`] makes it: how many bytes of `buffer` it fills, and what comes with it.
pub(super) fn receive_packet(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Received)> {
    let mut received = Received { header: [0; 10], tag: None };
    let mut parts = [
        libc::iovec { iov_base: received.header.as_mut_ptr().cast(), iov_len: received.header.len() },
        libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() },
    ];
    // Aligned for cmsghdr.
    let mut control = [0u64; 16];
    // SAFETY: msghdr is plain data, for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len();
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message's pointers are to buffers of the lengths beside them, which live until the end.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, 0) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: recvmsg has filled the control buffer in; the CMSG macros stay inside of it.
    let mut entry = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !entry.is_null() {
        // SAFETY: not null, so it is a whole header in the control buffer.
        let header = unsafe { entry.read_unaligned() };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            // SAFETY: the kernel puts a tpacket_auxdata behind this header.
            let data = unsafe { libc::CMSG_DATA(entry).cast::<libc::tpacket_auxdata>().read_unaligned() };
            if data.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                let [a, b] = data.tp_vlan_tpid.to_be_bytes();
                let [c, d] = data.tp_vlan_tci.to_be_bytes();
                received.tag = Some([a, b, c, d]);
            }
        }
        // SAFETY: `entry` came from these macros and the same message.
        entry = unsafe { libc::CMSG_NXTHDR(&raw const message, entry) };
    }
    Ok(((length as usize).saturating_sub(received.header.len()), received))
}
