//! The AXI4 slave and the command stream in front of the media.

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::SmallRng;

use super::{Media, MediaStatus};
use crate::edge::{AxiAddress, AxiDone, AxiRead, MediaInputs, MediaOutputs, MediaRequest, MediaResponse};
use crate::options::MediaOptions;

const BYTES: u64 = nitride_abi::tlp::BEAT_BYTES as u64;
/// Commands that are accepted before the first is answered.
const COMMANDS: usize = 16;
/// Cycles that disorder adds to a latency at most.
const JITTER: u64 = 32;

impl MediaStatus {
    /// As RRESP and BRESP have it.
    fn response(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::SlaveError => 2,
            Self::DecodeError => 3,
        }
    }
}

#[derive(Debug)]
struct Pending<T> {
    due: u64,
    item: T,
}

#[derive(Debug)]
struct ReadBurst {
    address: AxiAddress,
    beat: u64,
}

/// Transactions between the card and the [`Media`]. Bursts of one ID are answered in order (AXI4 §A5.3); of
/// different IDs in any order, if the options say so.
#[derive(Debug)]
pub(crate) struct AxiSlave {
    options: MediaOptions,
    writes: VecDeque<AxiAddress>,
    /// Data of the first of `writes`. It reaches the media as a whole: no power cut finds a part of it there.
    gathered: Vec<u8>,
    written: VecDeque<Pending<AxiDone>>,
    reads: VecDeque<Pending<AxiAddress>>,
    reading: Option<ReadBurst>,
    commands: VecDeque<Pending<MediaRequest>>,
    /// Bytes read and written.
    pub(crate) bytes: [u64; 2],
}

impl AxiSlave {
    pub(crate) fn new(options: MediaOptions) -> Self {
        Self {
            options,
            writes: VecDeque::new(),
            gathered: Vec::new(),
            written: VecDeque::new(),
            reads: VecDeque::new(),
            reading: None,
            commands: VecDeque::new(),
            bytes: [0; 2],
        }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.writes.is_empty()
            && self.written.is_empty()
            && self.reads.is_empty()
            && self.reading.is_none()
            && self.commands.is_empty()
    }

    /// Takes what crossed in cycle `now` and sets what the media drives in the next. `wrong` is told what
    /// breaks the protocol.
    pub(crate) fn step(
        &mut self,
        now: u64,
        inputs: &mut MediaInputs,
        outputs: &MediaOutputs,
        media: &mut Media,
        rng: &mut SmallRng,
        mut wrong: impl FnMut(String),
    ) {
        if inputs.b.is_some() && outputs.b_ready {
            inputs.b = None;
        }
        if inputs.r.is_some() && outputs.r_ready {
            inputs.r = None;
        }
        if inputs.response.is_some() && outputs.response_ready {
            inputs.response = None;
        }
        self.accept(now, inputs, outputs, media, rng, &mut wrong);

        if inputs.b.is_none() {
            inputs.b = ripe(&mut self.written, now, self.options.disorder, |done| done.id, rng);
        }
        if inputs.r.is_none() {
            if self.reading.is_none() {
                let next = ripe(&mut self.reads, now, self.options.disorder, |address| address.id, rng);
                self.reading = next.map(|address| ReadBurst { address, beat: 0 });
            }
            inputs.r = self.read_beat(media);
        }
        if inputs.response.is_none()
            && let Some(command) = self.commands.pop_front_if(|command| command.due <= now)
        {
            let MediaRequest { operation, address, length, id } = command.item;
            inputs.response = Some(MediaResponse { id, error: !media.command(operation, address, length) });
        }
        inputs.aw_ready = self.writes.len() + self.written.len() < self.options.outstanding;
        inputs.w_ready = !self.writes.is_empty();
        inputs.ar_ready = self.reads.len() < self.options.outstanding;
        inputs.request_ready = self.commands.len() < COMMANDS;
    }

    fn accept(
        &mut self,
        now: u64,
        inputs: &MediaInputs,
        outputs: &MediaOutputs,
        media: &mut Media,
        rng: &mut SmallRng,
        wrong: &mut impl FnMut(String),
    ) {
        if let Some(address) = outputs.ar.filter(|_| inputs.ar_ready) {
            check_burst("read", &address, wrong);
            let due = now + self.options.read_latency + self.jitter(rng);
            self.reads.push_back(Pending { due, item: address });
        }
        if let Some(beat) = outputs.w.filter(|_| inputs.w_ready)
            && let Some(&AxiAddress { id, address, len }) = self.writes.front()
        {
            self.gathered.extend_from_slice(&beat.data);
            let beats = self.gathered.len() / BYTES as usize;
            let last = beats > usize::from(len);
            if beat.last != last {
                wrong(format!("WLAST in beat {beats} of a burst of {}", u64::from(len) + 1));
            }
            if last {
                let response = media.write(address, &self.gathered).response();
                self.bytes[1] += self.gathered.len() as u64;
                self.gathered.clear();
                self.writes.pop_front();
                let due = now + self.options.write_latency + self.jitter(rng);
                self.written.push_back(Pending { due, item: AxiDone { id, response } });
            }
        }
        if let Some(address) = outputs.aw.filter(|_| inputs.aw_ready) {
            check_burst("write", &address, wrong);
            self.writes.push_back(address);
        }
        if let Some(request) = outputs.request.filter(|_| inputs.request_ready) {
            self.commands.push_back(Pending { due: now + self.options.command_latency, item: request });
        }
    }

    /// What disorder adds to a latency.
    fn jitter(&self, rng: &mut SmallRng) -> u64 {
        if self.options.disorder { rng.random_range(0..JITTER) } else { 0 }
    }

    fn read_beat(&mut self, media: &mut Media) -> Option<AxiRead> {
        let ReadBurst { address, beat } = self.reading.as_mut()?;
        let mut data = [0; BYTES as usize];
        let status = media.read(address.address + BYTES * *beat, &mut data);
        let last = *beat == u64::from(address.len);
        let read = AxiRead { id: address.id, data, response: status.response(), last };
        *beat += 1;
        self.bytes[0] += BYTES;
        if last {
            self.reading = None;
        }
        Some(read)
    }
}

fn check_burst(what: &str, burst: &AxiAddress, wrong: &mut impl FnMut(String)) {
    let bytes = BYTES * (u64::from(burst.len) + 1);
    if !burst.address.is_multiple_of(BYTES) || burst.address % 4096 + bytes > 4096 {
        wrong(format!(
            "an AXI {what} of {bytes} bytes at {:#x} is unaligned or crosses 4 KiB",
            burst.address
        ));
    }
}

/// The first item if it is due, or under `disorder` any that is due and that none of the same ID precedes.
fn ripe<T>(
    queue: &mut VecDeque<Pending<T>>,
    now: u64,
    disorder: bool,
    id: impl Fn(&T) -> u8,
    rng: &mut SmallRng,
) -> Option<T> {
    if !disorder {
        return queue.pop_front_if(|pending| pending.due <= now).map(|pending| pending.item);
    }
    let due = queue.iter().filter(|pending| pending.due <= now).count();
    if due == 0 {
        return None;
    }
    let chosen = queue.iter().filter(|pending| pending.due <= now).nth(rng.random_range(0..due))?;
    let wanted = id(&chosen.item);
    let first = queue.iter().position(|pending| id(&pending.item) == wanted)?;
    (queue[first].due <= now).then(|| queue.remove(first))?.map(|pending| pending.item)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Write;

    use rand::SeedableRng;

    use super::*;
    use crate::edge::{AxiWrite, MediaOperation};
    use crate::media::ErrorRange;

    const LEN: usize = 1 << 20;

    /// A master that keeps many transactions in flight and the media they go to.
    struct Bench {
        file: tempfile::NamedTempFile,
        media: Media,
        axi: AxiSlave,
        rng: SmallRng,
        now: u64,
        inputs: MediaInputs,
        outputs: MediaOutputs,
        done: Vec<AxiDone>,
        read: Vec<AxiRead>,
        responses: Vec<MediaResponse>,
    }

    impl Bench {
        fn new(volatile: bool, seed: u64) -> Self {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&vec![0; LEN]).unwrap();
            let options = MediaOptions { volatile, ..MediaOptions::default() };
            let mut media = Media::new(volatile);
            media.attach(0x10_0000, file.path(), false).unwrap();
            let outputs = MediaOutputs {
                b_ready: true,
                r_ready: true,
                response_ready: true,
                ..MediaOutputs::default()
            };
            Self {
                file,
                media,
                axi: AxiSlave::new(options),
                rng: SmallRng::seed_from_u64(seed),
                now: 0,
                inputs: MediaInputs::default(),
                outputs,
                done: Vec::new(),
                read: Vec::new(),
                responses: Vec::new(),
            }
        }

        /// One cycle, with what `outputs` has on the channels; clears those that were taken.
        fn cycle(&mut self) {
            let before = self.inputs.clone();
            self.done.extend(before.b);
            self.read.extend(before.r);
            self.responses.extend(before.response);
            let wrong = |what| panic!("{what}");
            self.axi.step(self.now, &mut self.inputs, &self.outputs, &mut self.media, &mut self.rng, wrong);
            self.now += 1;
            let clear = |ready: bool, valid: bool| ready && valid;
            if clear(before.aw_ready, self.outputs.aw.is_some()) {
                self.outputs.aw = None;
            }
            if clear(before.w_ready, self.outputs.w.is_some()) {
                self.outputs.w = None;
            }
            if clear(before.ar_ready, self.outputs.ar.is_some()) {
                self.outputs.ar = None;
            }
            if clear(before.request_ready, self.outputs.request.is_some()) {
                self.outputs.request = None;
            }
        }

        fn write(&mut self, id: u8, address: u64, data: &[u8]) -> u8 {
            let beats = data.len() / 32;
            self.outputs.aw = Some(AxiAddress { id, address, len: (beats - 1) as u8 });
            for (n, beat) in data.chunks(32).enumerate() {
                let last = n + 1 == beats;
                self.outputs.w = Some(AxiWrite { data: beat.try_into().unwrap(), last });
                while self.outputs.w.is_some() {
                    self.cycle();
                }
            }
            while !self.axi.is_idle() || self.inputs.b.is_some() {
                self.cycle();
            }
            self.done.pop().unwrap().response
        }

        fn read(&mut self, address: u64, beats: u64) -> (Vec<u8>, u8) {
            self.outputs.ar = Some(AxiAddress { id: 1, address, len: (beats - 1) as u8 });
            while self.read.last().is_none_or(|beat| !beat.last) {
                self.cycle();
            }
            let worst = self.read.iter().map(|beat| beat.response).max().unwrap();
            (self.read.drain(..).flat_map(|beat| beat.data).collect(), worst)
        }

        fn command(&mut self, operation: MediaOperation, address: u64, length: u64) -> bool {
            self.outputs.request = Some(MediaRequest { operation, address, length, id: 5 });
            while self.responses.is_empty() {
                self.cycle();
            }
            let response = self.responses.pop().unwrap();
            assert_eq!(response.id, 5);
            !response.error
        }

        fn on_disk(&self) -> Vec<u8> {
            std::fs::read(self.file.path()).unwrap()
        }
    }

    #[test]
    fn reads_of_one_id_keep_their_order_while_others_overtake() {
        let mut overtaken = 0;
        for seed in 0..20 {
            let mut bench = Bench::new(false, seed);
            for page in 0..256 {
                bench.media.write(0x10_0000 + page * 4096, &[page as u8; 4096]);
            }
            let mut expected: HashMap<u8, VecDeque<u8>> = HashMap::new();
            let mut order = Vec::new();
            let mut sent = 0u32;
            while bench.read.len() < 200 {
                if bench.outputs.ar.is_none() && sent < 200 {
                    let (id, page) = (bench.rng.random_range(0..4), bench.rng.random_range(0..256u64));
                    bench.outputs.ar = Some(AxiAddress { id, address: 0x10_0000 + page * 4096, len: 0 });
                    expected.entry(id).or_default().push_back(page as u8);
                    order.push((id, page as u8));
                    sent += 1;
                }
                bench.cycle();
            }
            overtaken += usize::from(bench.read.iter().zip(&order).any(|(beat, (id, _))| beat.id != *id));
            for beat in &bench.read {
                assert_eq!(
                    expected.get_mut(&beat.id).unwrap().pop_front(),
                    Some(beat.data[0]),
                    "seed {seed}"
                );
            }
        }
        assert!(overtaken > 10, "reads of other IDs should overtake, not only in {overtaken} of 20 runs");
    }

    #[test]
    fn errors_and_holes_are_obeyed() {
        let mut bench = Bench::new(false, 1);
        let data: Vec<u8> = (0..4096u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(bench.write(3, 0x10_1000, &data), 0);
        assert_eq!(bench.read(0x10_1000, 128), (data.clone(), 0));
        assert_eq!(&bench.on_disk()[4096..8192], &data[..]);

        assert_eq!(bench.read(0x20_0000, 1).1, 3, "nothing is mapped there");
        let range = 0x10_2000..0x10_2001;
        let error = ErrorRange { range, reads: true, writes: false, commands: false, decode: false };
        bench.media.inject_error(error.clone());
        assert_eq!(bench.read(0x10_2000, 1).1, 2);
        assert_eq!(bench.write(0, 0x10_2000, &[1; 32]), 0);
        assert!(bench.command(MediaOperation::Flush, 0x10_0000, LEN as u64));
        bench.media.clear_errors();
        bench.media.inject_error(ErrorRange {
            reads: false,
            writes: true,
            commands: true,
            decode: true,
            ..error
        });
        assert_eq!(bench.write(0, 0x10_2000, &[2; 32]), 3);
        assert!(!bench.command(MediaOperation::Flush, 0x10_0000, LEN as u64));
        bench.media.clear_errors();
        assert_eq!(bench.read(0x10_2000, 1), (vec![1; 32], 0));

        assert!(bench.command(MediaOperation::Discard, 0x10_1200, 8192));
        let (got, _) = bench.read(0x10_1000, 128);
        assert_eq!(got[..0x200], data[..0x200]);
        assert!(got[0x200..].iter().all(|byte| *byte == 0));
        assert!(
            !bench.command(MediaOperation::Discard, 0x10_0000, LEN as u64 + 4096),
            "past the image's end"
        );
        bench.media.detach(0x10_0000).unwrap();
        assert_eq!(bench.read(0x10_1000, 1).1, 3);
    }

    #[test]
    fn a_power_cut_in_the_middle_of_a_burst_finds_nothing_of_it() {
        let mut bench = Bench::new(true, 1);
        bench.outputs.aw = Some(AxiAddress { id: 0, address: 0x10_0000, len: 15 });
        for _ in 0..5 {
            bench.outputs.w = Some(AxiWrite { data: [1; 32], last: false });
            while bench.outputs.w.is_some() {
                bench.cycle();
            }
        }
        assert_eq!(bench.read(0x10_0000, 16).0, [0; 512]);
    }

    #[test]
    fn a_power_cut_loses_what_was_not_flushed() {
        let mut bench = Bench::new(true, 1);
        bench.write(0, 0x10_0000, &[1; 4096]);
        assert!(bench.command(MediaOperation::Flush, 0x10_0000, LEN as u64));
        bench.write(0, 0x10_0000, &[2; 4096]);
        bench.write(0, 0x10_1000, &[3; 4096]);
        assert_eq!(bench.read(0x10_0000, 1).0, [2; 32], "the cache is coherent");
        bench.media.power_cut(None);
        assert_eq!(bench.read(0x10_0000, 1).0, [1; 32]);
        assert_eq!(bench.read(0x10_1000, 1).0, [0; 32]);
        assert!(bench.on_disk()[..4096].iter().all(|byte| *byte == 1));

        for page in 0..16 {
            bench.write(0, 0x10_0000 + page * 4096, &[4; 4096]);
        }
        bench.media.power_cut(Some(&mut SmallRng::seed_from_u64(7)));
        let disk = bench.on_disk();
        let kept =
            disk[..16 * 4096].chunks(512).filter(|sector| sector.iter().all(|byte| *byte == 4)).count();
        assert!((32..96).contains(&kept), "about half of 128 sectors survive, not {kept}");
    }

    #[test]
    fn a_read_only_image_takes_no_write_and_a_bad_one_is_refused() {
        let mut bench = Bench::new(false, 1);
        let path = bench.file.path().to_path_buf();
        assert!(matches!(
            bench.media.attach(0x100_0000, &path, false),
            Err(crate::ImageError::Locked { .. })
        ));
        bench.media.detach(0x10_0000).unwrap();
        assert_eq!(bench.media.attach(0x10_0000, &path, true).unwrap(), LEN as u64);
        assert_eq!(bench.write(0, 0x10_0000, &[1; 32]), 2);
        assert!(!bench.command(MediaOperation::WriteZeroes, 0x10_0000, 4096));
        assert!(matches!(bench.media.attach(0x10_1000, &path, true), Err(crate::ImageError::Overlap { .. })));
        assert!(matches!(bench.media.attach(0x100, &path, true), Err(crate::ImageError::Base { .. })));
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(matches!(bench.media.attach(0x100_0000, &path, true), Err(crate::ImageError::Length { .. })));
    }
}
