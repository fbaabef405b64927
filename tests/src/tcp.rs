//! TCP between two network devices in one process, by smoltcp.

use std::time::{Duration, Instant as Clock};

use nitride_driver::virtio_net::Interface as Device;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

const PORT: u16 = 7;
const WINDOW: usize = 65_535;
/// How long a transfer may go without progress.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a transfer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Bytes that arrived, each compared.
    pub bytes: usize,
    /// From the first look at the devices to the last byte.
    pub elapsed: Duration,
}

struct Side {
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

impl Side {
    fn new(device: &mut Device, host: u8, now: Instant) -> Self {
        let mac = HardwareAddress::Ethernet(EthernetAddress(device.net().mac()));
        let mut interface = Interface::new(Config::new(mac), device, now);
        interface.update_ip_addrs(|addresses| {
            // Room for it is what the list has when it is empty.
            let _ = addresses.push(IpCidr::new(IpAddress::v4(10, 0, 0, host), 24));
        });
        let buffer = || SocketBuffer::new(vec![0; WINDOW]);
        let mut sockets = SocketSet::new(Vec::new());
        let socket = sockets.add(Socket::new(buffer(), buffer()));
        Self { interface, sockets, socket }
    }

    fn poll(&mut self, device: &mut Device, now: Instant) -> &mut Socket<'static> {
        self.interface.poll(now, device, &mut self.sockets);
        self.sockets.get_mut(self.socket)
    }
}

/// The byte at `at` of what is sent.
fn byte(at: usize) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

/// Sends `bytes` bytes from `client` to `server` and compares them there; `turn` is called whenever both have been looked at.
pub fn transfer(
    client: &mut Device,
    server: &mut Device,
    bytes: usize,
    mut turn: impl FnMut(),
) -> Result<Report, String> {
    let begin = Clock::now();
    let now = || Instant::from_micros(begin.elapsed().as_micros() as i64);
    let (mut from, mut to) = (Side::new(client, 1, now()), Side::new(server, 2, now()));
    to.poll(server, now()).listen(PORT).map_err(|error| error.to_string())?;
    let target = (IpAddress::v4(10, 0, 0, 2), PORT);
    let socket = from.sockets.get_mut::<Socket>(from.socket);
    socket.connect(from.interface.context(), target, 49152).map_err(|error| error.to_string())?;
    let (mut sent, mut received) = (0, 0);
    let mut progress = Clock::now();
    while received < bytes {
        let socket = from.poll(client, now());
        if socket.can_send() && sent < bytes {
            let room = |data: &mut [u8]| {
                let len = data.len().min(bytes - sent);
                data[..len].iter_mut().zip(sent..).for_each(|(data, at)| *data = byte(at));
                (len, len)
            };
            sent += socket.send(room).map_err(|error| error.to_string())?;
        }
        if socket.state() == State::Closed {
            return Err(format!("the connection ended after {received} bytes"));
        }
        let socket = to.poll(server, now());
        if socket.can_recv() {
            let check = |data: &mut [u8]| {
                let wrong = data.iter().zip(received..).find(|(data, at)| **data != byte(*at));
                (data.len(), (data.len(), wrong.map(|(_, at)| at)))
            };
            let (len, wrong) = socket.recv(check).map_err(|error| error.to_string())?;
            if let Some(at) = wrong {
                return Err(format!("byte {at} is wrong"));
            }
            received += len;
            progress = Clock::now();
        }
        if progress.elapsed() > PATIENCE {
            return Err(format!("no progress after {received} of {bytes} bytes"));
        }
        turn();
    }
    Ok(Report { bytes: received, elapsed: begin.elapsed() })
}
