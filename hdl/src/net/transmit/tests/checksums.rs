//! Checksums of TCP and UDP over IPv4 and IPv6, seen as their receiver sees them.

use nitride_lang::testing::Rng;

use super::bench::Bench;
use super::frames::{cut, noise};
use super::model::{Chain, Outcome, header, sum};
use super::options::{Options, seeds};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet: Ethernet header, maybe a VLAN tag, IP, TCP or UDP.
struct Packet {
    frame: Vec<u8>,
    pseudo_header: Vec<u8>,
    start: usize,
    offset: usize,
}

fn packet(rng: &mut Rng, six: bool, protocol: u8, payload: usize) -> Packet {
    let mut frame = noise(rng, 12);
    if rng.bit() {
        frame.extend([0x81, 0x00, 0x00, 0x05]);
    }
    let (fixed, offset) = if protocol == TCP { (20, 16) } else { (8, 6) };
    let length = fixed + payload;
    let mut pseudo_header;
    if six {
        let addresses = noise(rng, 32);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((length as u16).to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend(&addresses);
        // RFC 8200 §8.1
        pseudo_header = addresses;
        pseudo_header.extend((length as u32).to_be_bytes());
        pseudo_header.extend([0, 0, 0, protocol]);
    } else {
        let addresses = noise(rng, 8);
        // With options now and then.
        let words = rng.pick(&[5, 5, 6, 15]);
        frame.extend([0x08, 0x00, 0x40 | words, 0]);
        frame.extend((4 * u16::from(words) + length as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
        frame.extend(&addresses);
        frame.extend(vec![1; 4 * usize::from(words) - 20]);
        // RFC 793 §3.1, RFC 768
        pseudo_header = addresses;
        pseudo_header.extend([0, protocol]);
        pseudo_header.extend((length as u16).to_be_bytes());
    }
    let start = frame.len();
    frame.extend(noise(rng, fixed + payload));
    if protocol == UDP {
        frame[start + 4..][..2].copy_from_slice(&(length as u16).to_be_bytes());
    }
    let partial = sum(&pseudo_header);
    frame[start + offset..][..2].copy_from_slice(&partial.to_be_bytes());
    Packet { frame, pseudo_header, start, offset }
}

impl Packet {
    /// What a receiver sees as right.
    fn check(&self, received: &[u8]) {
        let mut all = self.pseudo_header.clone();
        all.extend(&received[self.start..]);
        assert_eq!(sum(&all), 0xffff, "the checksum is wrong");
        let field = self.start + self.offset;
        assert_ne!(received[field..][..2], [0, 0], "0 stands for no checksum");
    }
}

#[test]
fn tcp_and_udp() {
    let seed = seeds(1)[0];
    let mut bench = Bench::new(seed, Options { latency: (0, 60), shuffle: true, ..Options::FAST });
    bench.queue(0x0b, true, true);
    for head in 0..160u16 {
        let payload = match bench.rng.below(4) {
            0 => bench.rng.below(4),
            1 => 1400 + bench.rng.below(60),
            _ => bench.rng.below(200),
        };
        let protocol = if head & 2 == 0 { TCP } else { UDP };
        let packet = packet(&mut bench.rng, head & 1 == 0, protocol, payload as usize);
        let mut bytes = header(1, 0, packet.start as u16, packet.offset as u16).to_vec();
        bytes.extend(&packet.frame);
        let parts = 1 + bench.rng.below(4) as usize;
        let buffers = cut(&mut bench, &bytes, parts);
        let chain = Chain { queue: 0x0b, head, buffers };
        // The bench compares with the model; the model is compared with the receiver.
        let Outcome::Frame(expected) = chain.outcome(true) else { panic!("no frame") };
        packet.check(&expected);
        bench.chain(chain);
    }
    bench.finish();
    assert_eq!(bench.frames, 160);
}

/// Payloads whose checksum comes out as 0, and places and sums of all kinds: at the frame's very end, at odd places, of two bytes alone.
#[test]
fn corners() {
    let mut bench = Bench::new(4, Options { latency: (0, 30), shuffle: true, ..Options::FAST });
    bench.queue(1, true, true);
    let mut head = 0;
    for length in [14usize, 31, 32, 33, 64, 65, 100] {
        for start in [0, 1, 2, 12, 13, length - 3, length - 2] {
            for fill in [0x00, 0xff, 0x5a] {
                let Some(most) = (length - 2).checked_sub(start) else { continue };
                for offset in [0, 1, 2, most / 2, most] {
                    if offset > most {
                        continue;
                    }
                    let mut bytes = header(1, 0, start as u16, offset as u16).to_vec();
                    bytes.extend(vec![fill; length]);
                    let buffers = vec![bench.anywhere(&bytes)];
                    bench.chain(Chain { queue: 1, head, buffers });
                    head += 1;
                }
            }
        }
    }
    bench.finish();
    assert_eq!(bench.frames, usize::from(head));
}

/// RFC 1071 §3 sums these bytes to 0xddf2.
#[test]
fn the_model_is_right() {
    assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
}
