//! Frames through the switch: between network devices, to and from Ethernet ports, and from port to port.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nitride_abi::card::{DEVICES, PF_MANAGEMENT, VF_NETWORK_FIRST};
use nitride_driver::management::{Assignment, Management, Port};
use nitride_driver::virtio_net::{Interface, Net, Options as NetOptions, Station};
use nitride_sim::{Card, LinkOptions, Options, Simulator};
use nitride_tests::tcp;

use crate::Error;

/// The first Ethernet port.
const ETHERNET: u8 = DEVICES as u8;
/// A host behind it.
const HOST: [u8; 6] = [0x1e, 0, 0, 0, 0, 1];
/// A host behind the other one.
const FAR: [u8; 6] = [0x1e, 0, 0, 0, 0, 2];
/// Bytes of all frames of a load.
const BYTES: u64 = 1 << 20;
/// Frames on their way from one station to another: as an egress queue may hold,
const WINDOW: u64 = 100;
/// and their bytes in all flows, so that none is dropped.
const WINDOW_BYTES: u64 = 112 << 10;
/// How long nothing may arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where frames come from, and where they go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From VF to VF, so many of them: each sends to a neighbour and receives from it.
    Functions(u8),
    /// From a VF to an Ethernet port.
    Out,
    /// From an Ethernet port to a VF.
    In,
    /// From one Ethernet port to the other.
    Ports,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&match self {
            Self::Functions(1) => "VF to VF".to_owned(),
            Self::Functions(count) => format!("{count} VFs"),
            Self::Out => "VF to port".to_owned(),
            Self::In => "port to VF".to_owned(),
            Self::Ports => "port to port".to_owned(),
        })
    }
}

/// What a load took.
pub struct Outcome {
    pub frames: u64,
    pub lost: u64,
    pub cycles_per_frame: f64,
    pub kilohertz: f64,
}

/// A card whose network devices and Ethernet ports are all in one network.
pub struct Bed {
    simulator: Simulator,
}

/// The MAC address of a VF.
fn mac(vf: u8) -> [u8; 6] {
    [2, 0x4e, 0x54, 0, 0, vf + 1]
}

impl Bed {
    /// One that is so many cycles away from its host.
    pub fn new(latency: u64, functions: u8) -> Result<Self, Error> {
        let link = LinkOptions { latency, ..LinkOptions::default() };
        let simulator = Simulator::start(Box::new(Card::new()), Options { link, ..Options::default() })?;
        let card = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT)?))?;
        // Device 0 is the PF.
        for device in 1..=functions {
            let mac = mac(device - 1);
            let port = Port { enabled: true, mac: Some(mac), ..Port::default() };
            card.place(device, port, Assignment { mac, mtu: 8996, link_up: true, announce: false })?;
        }
        for (port, host) in [(ETHERNET, HOST), (ETHERNET + 1, FAR)] {
            card.set_port(port, Port { enabled: true, ..Port::default() })?;
            card.forward(0, host, Some(port))?;
        }
        card.set_members(0, (2 << functions) - 2)?;
        Ok(Self { simulator })
    }

    fn net(&self, vf: u8) -> Result<Net, Error> {
        let options = NetOptions { queue_entries: 1024, ..NetOptions::default() };
        Ok(Net::open(Arc::new(self.simulator.endpoint(VF_NETWORK_FIRST + vf)?), options)?)
    }

    /// Sends frames of so many bytes, as fast as the card takes them.
    pub fn run(&self, way: Way, bytes: usize) -> Result<Outcome, Error> {
        let mut load = match way {
            Way::Functions(1) => Load::new(vec![(self.net(0)?, mac(1)), (self.net(1)?, mac(0))], bytes, 1),
            Way::Functions(count) => {
                let nets =
                    (0..count).map(|vf| Ok((self.net(vf)?, mac(vf ^ 1)))).collect::<Result<_, Error>>()?;
                Load::new(nets, bytes, usize::from(count))
            }
            Way::Out => Load::new(vec![(self.net(0)?, HOST)], bytes, 1),
            Way::In => Load::new(vec![(self.net(0)?, HOST)], bytes, 0),
            Way::Ports => Load::new(vec![], bytes, 0),
        };
        let frames = (BYTES / bytes as u64).clamp(400, 8000);
        load.turn(self, way, frames / 10)?;
        let (clock, speed) = (self.clock()?, self.simulator.speed()?);
        let before = load.arrived();
        load.turn(self, way, frames + frames / 10)?;
        let (clock_after, speed_after) = (self.clock()?, self.simulator.speed()?);
        let busy = speed_after.busy.saturating_sub(speed.busy);
        let frames = load.arrived() - before;
        load.drain(self, way)?;
        Ok(Outcome {
            frames,
            lost: load.lost(),
            cycles_per_frame: (clock_after - clock) as f64 / frames as f64,
            kilohertz: (speed_after.cycles - speed.cycles) as f64 / busy.as_secs_f64() / 1e3,
        })
    }

    fn clock(&self) -> Result<u64, Error> {
        Ok(self.simulator.with(|system| system.cycle())?)
    }

    /// Cycles from one VF to another and back, with one frame of so many bytes at a time.
    pub fn round_trip(&self, bytes: usize) -> Result<f64, Error> {
        const ROUNDS: u64 = 20;
        let (mut near, mut far) =
            (Station::new(self.net(0)?, mac(1), bytes), Station::new(self.net(1)?, mac(0), bytes));
        let before = self.clock()?;
        let deadline = Instant::now() + PATIENCE;
        while near.received < ROUNDS {
            near.send(near.received + 1)?;
            far.receive()?;
            far.send(far.received)?;
            near.receive()?;
            if Instant::now() > deadline {
                return Err("no frame came back".into());
            }
        }
        Ok((self.clock()? - before) as f64 / ROUNDS as f64)
    }

    /// TCP (smoltcp) from one VF to another: Mb/s by this machine's clock, and clock cycles a byte.
    pub fn tcp(&self, bytes: usize) -> Result<(f64, f64), Error> {
        let (mut near, mut far) = (Interface::new(self.net(0)?)?, Interface::new(self.net(1)?)?);
        let before = self.clock()?;
        let report = tcp::transfer(&mut near, &mut far, bytes, || {})?;
        let cycles = self.clock()? - before;
        Ok((8.0 * bytes as f64 / report.elapsed.as_secs_f64() / 1e6, cycles as f64 / bytes as f64))
    }
}

/// Stations, of which the first `senders` send.
struct Load {
    stations: Vec<Station>,
    senders: usize,
    bytes: usize,
    /// Frames that an Ethernet port was given, and that one gave.
    given: u64,
    taken: u64,
}

impl Load {
    fn new(nets: Vec<(Net, [u8; 6])>, bytes: usize, senders: usize) -> Self {
        let stations = nets.into_iter().map(|(net, to)| Station::new(net, to, bytes)).collect();
        Self { stations, senders, bytes, given: 0, taken: 0 }
    }

    fn arrived(&self) -> u64 {
        self.taken + self.stations.iter().map(|station| station.received).sum::<u64>()
    }

    fn lost(&self) -> u64 {
        self.stations.iter().map(|station| station.next - station.received).sum()
    }

    /// Goes on until so many frames have arrived.
    fn turn(&mut self, bed: &Bed, way: Way, frames: u64) -> Result<(), Error> {
        let flows = self.senders.max(1) as u64;
        let window = (WINDOW_BYTES / flows / self.bytes as u64).clamp(1, WINDOW);
        let mut progress = (Instant::now(), self.arrived());
        while self.arrived() < frames {
            for sender in 0..self.senders {
                let passed = match way {
                    Way::Functions(_) => self.stations[sender ^ 1].next,
                    _ => self.taken,
                };
                self.stations[sender].send(passed + window)?;
            }
            for station in &mut self.stations {
                station.receive()?;
            }
            self.ports(bed, way, window)?;
            if self.arrived() > progress.1 {
                progress = (Instant::now(), self.arrived());
            } else if progress.0.elapsed() > PATIENCE {
                return Err(format!(
                    "{way}: no frame of {} bytes came for {} s",
                    self.bytes,
                    PATIENCE.as_secs()
                )
                .into());
            }
        }
        Ok(())
    }

    /// Takes what is still on its way, which would be counted as another load's.
    fn drain(&mut self, bed: &Bed, way: Way) -> Result<(), Error> {
        let mut progress = (Instant::now(), self.arrived());
        while progress.0.elapsed() < Duration::from_millis(50) {
            for station in &mut self.stations {
                station.receive()?;
            }
            self.ports(bed, way, 0)?;
            if self.arrived() > progress.1 {
                progress = (Instant::now(), self.arrived());
            }
        }
        Ok(())
    }

    /// Gives Ethernet ports their frames, and takes what they have.
    fn ports(&mut self, bed: &Bed, way: Way, window: u64) -> Result<(), Error> {
        let (to, out) = match way {
            Way::Functions(_) => return Ok(()),
            Way::Out => (None, 0),
            Way::In => (Some(mac(0)), 0),
            Way::Ports => (Some(FAR), 1),
        };
        let passed = if way == Way::In { self.stations[0].next } else { self.taken };
        // From port to port nothing piles up in the card, and a port has its frames at hand whenever this thread looks.
        let window = if way == Way::Ports { 4 * window } else { window };
        let more = if to.is_some() { (passed + window).saturating_sub(self.given) } else { 0 };
        let mut frame = Station::frame(to.unwrap_or_default(), HOST, self.bytes);
        let given = self.given;
        self.taken += bed.simulator.with(move |system| {
            for number in given..given + more {
                Station::number(&mut frame, number);
                system.ethernet(0).send(&frame);
            }
            std::iter::from_fn(|| system.ethernet(out).take()).count() as u64
        })?;
        self.given += more;
        Ok(())
    }
}
