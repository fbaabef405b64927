//! The card's Ethernet ports and what they are connected to, on a card that patches its two ports together.

mod responder;

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nitride_abi::virtio::net::FRAME_BYTES;
use nitride_sim::{
    Attachment, Edge, EthernetCounters, Inputs, Options, Outputs, PacketBeat, Peer, Simulator, System,
};
use responder::Responder;

/// What comes in by one port goes out by the other.
struct Patch {
    card: Box<Responder>,
    held: [VecDeque<PacketBeat>; 2],
}

impl Patch {
    fn boxed() -> Box<Self> {
        Box::new(Self { card: Responder::new(), held: Default::default() })
    }
}

impl Edge for Patch {
    fn cycle(&mut self, now: u64, inputs: &Inputs, outputs: &mut Outputs) {
        self.card.cycle(now, inputs, outputs);
        for (port, input) in inputs.ethernet.iter().enumerate() {
            // Not ready now and then, so that a beat has to wait.
            let ready = !now.is_multiple_of(3);
            outputs.ethernet[port].rx_ready = ready;
            outputs.ethernet[port].tx =
                if input.tx_ready { self.held[port].pop_front() } else { self.held[port].front().copied() };
            if ready && let Some(beat) = input.rx {
                self.held[1 - port].push_back(beat);
            }
        }
        outputs.busy |= self.held.iter().any(|held| !held.is_empty());
    }
}

fn start() -> Simulator {
    Simulator::start(Patch::boxed(), Options::default()).unwrap()
}

/// A frame that its length tells from any other; broadcast, of EtherType 88B5h (IEEE 802 local experimental 1).
fn frame(len: usize) -> Vec<u8> {
    let head = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x88, 0xb5];
    head.into_iter().chain((0..).map(|n| (n * 7 + len) as u8)).take(len).collect()
}

fn counters(simulator: &Simulator, port: usize) -> EthernetCounters {
    simulator.with(move |system| system.ethernet(port).counters()).unwrap()
}

/// Waits until `done`, which other threads bring about.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(simulator: &Simulator, port: usize, frame: Vec<u8>) {
    simulator.with(move |system| system.ethernet(port).send(&frame)).unwrap();
}

#[test]
fn frames_of_every_length_pass_whole_and_short_ones_are_padded() {
    let mut system = System::new(Patch::boxed(), Options::default()).unwrap();
    let lengths = (1..200).chain((200..=FRAME_BYTES).step_by(97)).chain([FRAME_BYTES]);
    for len in lengths {
        let mut expected = frame(len);
        system.ethernet(0).send(&expected);
        assert!(system.settle(10_000), "{len} bytes");
        expected.resize(len.max(60), 0);
        assert_eq!(system.ethernet(1).take(), Some(expected), "{len} bytes");
        assert_eq!(system.ethernet(1).take(), None);
    }
    let sent = system.ethernet(1).counters();
    let received = system.ethernet(0).counters();
    assert_eq!((sent.sent, sent.sent_bytes), (received.received, received.received_bytes));
    system.ethernet(0).send(&frame(FRAME_BYTES + 1));
    assert!(system.settle(10_000));
    assert_eq!(system.ethernet(0).counters().receive_drops, 1);
    assert!(system.violations().is_empty());
}

#[test]
fn a_replay_keeps_its_times_and_a_capture_shows_them() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (first, second) = (at("first.pcapng"), at("second.pcapng"));
    let captured = |from: &Path, to: &Path| {
        let simulator = start();
        let _out = Attachment::new(&simulator, 1, None, Some(to)).unwrap();
        let _in = Attachment::new(&simulator, 0, Some(&Peer::Replay(from.into())), None).unwrap();
        until("the replay", || counters(&simulator, 1).sent == 3);
        simulator.with(System::flush_log).unwrap().unwrap();
    };
    {
        let simulator = start();
        let _capture = Attachment::new(&simulator, 1, None, Some(&first)).unwrap();
        for (cycle, len) in [(0, 64), (5000, 9018), (100_000, 1500)] {
            simulator
                .with(move |system| {
                    while system.cycle() < cycle {
                        system.step();
                    }
                    system.ethernet(0).send(&frame(len));
                })
                .unwrap();
        }
        until("three frames", || counters(&simulator, 1).sent == 3);
        simulator.with(System::flush_log).unwrap().unwrap();
    }
    captured(&first, &second);
    let packets = |path: &Path| -> Vec<(u128, Vec<u8>)> {
        let mut reader = pcap_file::pcapng::PcapNgReader::new(std::fs::File::open(path).unwrap()).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Some(packet) = block.unwrap().into_owned().into_enhanced_packet() {
                packets.push((packet.timestamp.as_nanos(), packet.data.into_owned()));
            }
        }
        let start = packets[0].0;
        packets.into_iter().map(|(time, data)| (time - start, data)).collect()
    };
    let (one, two) = (packets(&first), packets(&second));
    let data = |packets: &[(u128, Vec<u8>)]| packets.iter().map(|p| p.1.clone()).collect::<Vec<_>>();
    assert_eq!(data(&one), [frame(64), frame(9018), frame(1500)]);
    assert_eq!(data(&two), data(&one));
    for (one, two) in one.iter().zip(&two) {
        // A frame's capture is at its last beat, so the patch adds its own length to the replay's times.
        assert!(one.0.abs_diff(two.0) < 4 * 2000, "{} ns and {} ns", one.0, two.0);
    }
}

#[test]
fn two_cards_are_connected_by_a_cable_that_can_be_pulled_and_plugged_in_again() {
    let directory = tempfile::tempdir().unwrap();
    let peer = Peer::Card(directory.path().join("cable.sock"));
    let (one, two) = (start(), start());
    let first_end = Attachment::new(&one, 0, Some(&peer), None).unwrap();
    for round in 0..3 {
        let second = Attachment::new(&two, 0, Some(&peer), None).unwrap();
        let linked = |simulator: &Simulator| simulator.with(|system| system.ethernet(0).link()).unwrap();
        until("the link", || linked(&one) && linked(&two));
        // In by port 1 of one card, out by its port 0, through the cable, and out by port 1 of the other.
        for len in [60, 61, 1514, FRAME_BYTES - 2] {
            send(&one, 1, frame(len + round));
            let mut frame_there = None;
            until("a frame", || {
                frame_there = two.with(|system| system.ethernet(1).take()).unwrap();
                frame_there.is_some()
            });
            assert_eq!(frame_there, Some(frame(len + round)));
            send(&two, 1, frame(len));
            until("a frame back", || one.with(|system| system.ethernet(1).take()).unwrap().is_some());
        }
        drop(second);
        until("the end of the link", || !linked(&one));
    }
    assert!(directory.path().join("cable.sock").exists());
    drop(first_end);
    assert!(!directory.path().join("cable.sock").exists());
}

/// Runs a test in a network namespace of its own, or says why it cannot.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        // SAFETY: it changes the network namespace of this thread alone, and no descriptor.
        let entered = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
        if let Err(error) = entered {
            println!("skipped: no network namespace can be made ({error}): it takes CAP_SYS_ADMIN");
            return;
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip(8)");
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn a_tap_device_carries_frames_of_this_hosts_stack() {
    in_namespace(|| {
        let simulator = start();
        let _tap = Attachment::new(&simulator, 0, Some(&Peer::Tap("nitride0".into())), None).unwrap();
        ip("address add 192.0.2.1/24 dev nitride0");
        ip("neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev nitride0");
        let socket = std::net::UdpSocket::bind("192.0.2.1:7").unwrap();
        let mut datagram = Vec::new();
        until("the datagram", || {
            socket.send_to(b"hello, card", "192.0.2.2:9").unwrap();
            let frame = simulator.with(|system| system.ethernet(1).take()).unwrap();
            datagram = frame.unwrap_or_default();
            datagram.windows(11).any(|window| window == b"hello, card")
        });
        // The way back: the same datagram with both ends exchanged, whose checksums are therefore the same.
        let mut answer = datagram.clone();
        answer.copy_within(6..12, 0);
        answer[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
        answer[26..30].copy_from_slice(&datagram[30..34]);
        answer[30..34].copy_from_slice(&datagram[26..30]);
        answer[34..36].copy_from_slice(&datagram[36..38]);
        answer[36..38].copy_from_slice(&datagram[34..36]);
        send(&simulator, 1, answer);
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut buffer = [0; 64];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], from.to_string().as_str()), (&b"hello, card"[..], "192.0.2.2:9"));
    });
}

#[test]
fn a_veth_pair_carries_frames_with_their_tags_and_whole_checksums() {
    in_namespace(|| {
        ip("link add veth0 type veth peer name veth1");
        ip("link set veth0 up");
        ip("link set veth1 up");
        ip("address add 192.0.2.1/24 dev veth1");
        ip("neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev veth1");
        let (simulator, other) = (start(), start());
        let _port = Attachment::new(&simulator, 0, Some(&Peer::Interface("veth0".into())), None).unwrap();
        // Again and again: the kernel takes a moment to see that a link is up, and loses what is sent before.
        let take = |contents: &'static [u8], send: &dyn Fn()| {
            let mut frame = Vec::new();
            until("the frame", || {
                send();
                frame = simulator.with(|system| system.ethernet(1).take()).unwrap().unwrap_or_default();
                frame.windows(contents.len()).any(|window| window == contents)
            });
            frame
        };

        // Its sender leaves the checksum to the receiver.
        let socket = std::net::UdpSocket::bind("192.0.2.1:7").unwrap();
        let frame = take(b"hello, card", &|| {
            socket.send_to(b"hello, card", "192.0.2.2:9").unwrap();
        });
        let (ip, udp) = (&frame[14..34], &frame[34..]);
        let udp = &udp[..usize::from(u16::from_be_bytes([udp[4], udp[5]]))];
        let words = |bytes: &[u8]| -> u32 {
            bytes
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
                .sum()
        };
        let sum = words(&ip[12..20]) + 17 + udp.len() as u32 + words(udp);
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the UDP checksum");

        // A tag, which the kernel takes out of the frame.
        let _peer = Attachment::new(&other, 0, Some(&Peer::Interface("veth1".into())), None).unwrap();
        let mut tagged = vec![0xff; 6];
        tagged.extend([2, 0, 0, 0, 0, 9, 0x81, 0, 0x60, 42, 0x88, 0xb5]);
        tagged.extend(b"hello, tagged world, in a frame that is long enough not to be padded");
        assert_eq!(take(b"hello, tagged", &|| send(&other, 1, tagged.clone())), tagged);
    });
}

#[test]
fn what_cannot_be_connected_is_named_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plain");
    std::fs::write(&file, "no socket, no pcapng").unwrap();
    let simulator = start();
    for (peer, part) in [
        (Peer::Interface("nowhere0".into()), "interface nowhere0"),
        (Peer::Tap("a name that is too long".into()), "1 to 15 bytes"),
        (Peer::Replay(directory.path().join("nothing.pcapng")), "No such file"),
        (Peer::Replay(file.clone()), "not a pcapng file"),
        (Peer::Card(file.clone()), "card at"),
        (Peer::Card(directory.path().join("nothing/cable.sock")), "card at"),
    ] {
        let error = Attachment::new(&simulator, 1, Some(&peer), None).err().expect("an error").to_string();
        assert!(error.starts_with("Ethernet port 1: ") && error.contains(part), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(file.exists());
}
