//! Clause by clause: virtio 1.2 §5.1.6.5, and how chains may be cut (§2.7.4).

use nitride_abi::virtio::net::control;

use super::bench::{Bench, bytes_of};
use super::model::Buffer;
use super::options::Options;

/// A control queue of device 1.
pub const QUEUE: u8 = 0x0c;

pub fn bench() -> Bench {
    let mut bench = Bench::new(1, Options::FAST);
    bench.queue(QUEUE, true);
    bench
}

/// A MAC address to be set.
const ADDRESS: [u8; 8] = [control::MAC, control::MAC_ADDR_SET, 0x52, 0x54, 0, 1, 2, 3];

/// The bytes of a command, `parts` of them, each at an address of its own.
pub fn cut(bench: &mut Bench, bytes: &[u8], parts: &[usize]) -> Vec<Buffer> {
    let mut rest = bytes;
    let mut buffers = vec![];
    for part in parts {
        let (here, behind) = rest.split_at(*part);
        let offset = bench.rng.below(4);
        buffers.push(bench.readable(here, offset));
        rest = behind;
    }
    let offset = bench.rng.below(4);
    buffers.push(bench.readable(rest, offset));
    buffers
}

/// Header, data and answer in buffers of their own, as drivers do it: OK is written, and the chain goes back.
#[test]
fn command_and_ok() {
    let mut bench = bench();
    bench.verdict = Some(true);
    let mut buffers = cut(&mut bench, &ADDRESS, &[2]);
    let ack = bench.writable(1);
    buffers.push(ack);
    bench.memory.write(ack.address, 0xff);
    bench.chain(QUEUE, 7, buffers);
    bench.finish();
    assert_eq!((bench.returned, bench.reads), (1, 2));
    let command = bench.commands[0];
    assert_eq!((command.device.to_u64(), command.length.to_u64()), (1, 8));
    assert_eq!(bytes_of(command)[..8], ADDRESS);
    assert_eq!(bytes_of(command)[8..], [0; 8]);
    assert_eq!(bench.memory.read(ack.address), control::OK);
}

#[test]
fn command_that_is_refused() {
    let mut bench = bench();
    bench.verdict = Some(false);
    let mut buffers = cut(&mut bench, &ADDRESS, &[2]);
    let ack = bench.writable(1);
    buffers.push(ack);
    bench.chain(QUEUE, 7, buffers);
    bench.finish();
    assert_eq!((bench.returned, bench.memory.read(ack.address)), (1, control::ERR));
}

/// The answer may be at any byte of a DW, and so may the command.
#[test]
fn any_byte_address() {
    let mut bench = bench();
    for offset in 0..16 {
        let command = bench.readable(&ADDRESS, offset / 4);
        let ack = bench.place(1, true, offset % 4);
        bench.chain(QUEUE, offset as u16, vec![command, ack]);
    }
    bench.finish();
    assert_eq!(bench.returned, 16);
}

/// Framing is the driver's choice: every cut into two and into bytes, with empty buffers in between.
#[test]
fn any_framing() {
    let mut bench = bench();
    bench.options.latency = (1, 5);
    let bytes: Vec<u8> = (1..=18).collect();
    let mut head = 0;
    for length in 1..=18 {
        for at in 0..=length {
            let mut buffers = cut(&mut bench, &bytes[..length], &[at]);
            buffers.push(bench.writable(1));
            bench.chain(QUEUE, head, buffers);
            head += 1;
        }
        for empty in [0, 1] {
            let parts: Vec<usize> = (0..2 * length).map(|i| usize::from(i % 2 == 0)).collect();
            let parts = if empty == 0 { vec![1; length] } else { parts };
            let mut buffers = cut(&mut bench, &bytes[..length], &parts);
            buffers.push(bench.writable(1));
            bench.chain(QUEUE, head, buffers);
            head += 1;
        }
    }
    bench.finish();
    assert_eq!(bench.returned, usize::from(head));
}

/// All bytes count as the command's length, but only the first 16 are read.
#[test]
fn long_commands() {
    let mut bench = bench();
    let lengths: [&[u32]; 8] = [
        &[17],
        &[8, 0xfff7],
        &[8, 0xfff8],
        &[0xffff],
        &[0x1_0000],
        &[0xffff_ffff, 1],
        &[3, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff],
        &[16, 1, 1, 1, 1],
    ];
    for (head, lengths) in lengths.iter().enumerate() {
        let mut buffers: Vec<Buffer> = lengths.iter().map(|length| bench.place(*length, false, 1)).collect();
        buffers.push(bench.writable(1));
        bench.chain(QUEUE, head as u16, buffers);
    }
    bench.finish();
    let told: Vec<u64> = bench.commands.iter().map(|command| command.length.to_u64()).collect();
    assert_eq!(told, [17, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 20]);
    assert_eq!(bench.reads, 1 + 2 + 2 + 1 + 1 + 1 + 2 + 1);
}

/// Without class and command: the registers refuse it.
#[test]
fn short_commands() {
    let mut bench = bench();
    let ack = bench.writable(1);
    bench.chain(QUEUE, 0, vec![ack]);
    let (empty, ack) = (bench.readable(&[], 0), bench.writable(1));
    bench.chain(QUEUE, 1, vec![empty, ack]);
    let (class, ack) = (bench.readable(&[control::MQ], 3), bench.writable(1));
    bench.chain(QUEUE, 2, vec![class, ack]);
    bench.finish();
    let told: Vec<u64> = bench.commands.iter().map(|command| command.length.to_u64()).collect();
    assert_eq!((told, bench.returned, bench.reads), (vec![0, 0, 1], 3, 1));
}

/// The answer is the first device-writable byte, however many there are.
#[test]
fn answer_is_the_first_writable_byte() {
    let mut bench = bench();
    for (head, lengths) in
        [&[5][..], &[0, 1], &[0, 0, 3, 1, 0], &[1, 1, 1], &[0xffff_ffff]].iter().enumerate()
    {
        let mut buffers = vec![bench.readable(&ADDRESS, 1)];
        for length in *lengths {
            buffers.push(bench.writable(*length));
        }
        bench.chain(QUEUE, head as u16, buffers);
    }
    bench.finish();
    assert_eq!(bench.returned, 5);
}

/// Bytes of a command may go round the end of the address space: they are where the host says.
#[test]
fn around_the_end_of_memory() {
    let mut bench = bench();
    let command = Buffer { address: u64::MAX - 2, length: 16, write: false };
    let ack = Buffer { address: u64::MAX, length: 1, write: true };
    bench.chain(QUEUE, 0, vec![command, ack]);
    bench.finish();
    assert_eq!(bench.returned, 1);
}

/// Two round trips a chain, a cycle a segment, and little more.
#[test]
fn cycles() {
    for (segments, most) in [(1, 220), (16, 250), (62, 285)] {
        let mut bench = bench();
        let bytes: Vec<u8> = (0..=segments).collect();
        for head in 0..4 {
            let mut buffers = cut(&mut bench, &bytes, &vec![1; usize::from(segments)]);
            buffers.push(bench.writable(1));
            bench.chain(QUEUE, head, buffers);
        }
        bench.finish();
        let each = bench.cycle / 4;
        println!("{segments} segments: {each} cycles a chain");
        assert!(each <= most, "{each} cycles");
    }
}
