//! From the card to the host.

use std::collections::VecDeque;

use crate::edge::Beat;
use crate::options::LinkOptions;
use crate::tlp::{Assembler, Class, Tlp, class};

/// Credits beyond those that `tx_credit` shows, so that a card may decide to start a TLP some cycles before
/// its first beat crosses the edge.
const HEADROOM: u16 = 4;

/// What the card's beats made.
pub(crate) enum Arrival {
    /// Not the last beat of a TLP.
    Nothing,
    /// A TLP, now under way.
    Complete(Tlp),
    /// Something that no card may send.
    Wrong(String),
}

/// TLPs from the card's `tx`, in order, and the host's credits for them.
#[derive(Debug)]
pub(crate) struct Upstream {
    assembler: Assembler,
    used: [u16; 3],
    returns: VecDeque<(u64, Class)>,
    queue: VecDeque<(u64, Tlp)>,
}

impl Upstream {
    pub(crate) fn new() -> Self {
        Self {
            assembler: Assembler::default(),
            used: [0; 3],
            returns: VecDeque::new(),
            queue: VecDeque::new(),
        }
    }

    /// `tx_credit` at cycle `now`.
    pub(crate) fn credit(&mut self, now: u64, options: &LinkOptions) -> u8 {
        while let Some((_, class)) = self.returns.pop_front_if(|(cycle, _)| *cycle <= now) {
            self.used[class as usize] -= 1;
        }
        (0..3).fold(0, |bits, class| bits | u8::from(self.used[class] < options.credits[class]) << class)
    }

    /// Takes a beat that crossed the edge at cycle `now`.
    pub(crate) fn take(&mut self, now: u64, beat: &Beat, options: &LinkOptions) -> Arrival {
        if self.assembler.at_start() {
            let class = class(&beat.header);
            let used = &mut self.used[class as usize];
            *used += 1;
            // The credit's return: the TLP is processed on arrival, the update takes the way back.
            self.returns.push_back((now + 2 * options.latency, class));
            if *used > options.credits[class as usize] + HEADROOM {
                return Arrival::Wrong(format!(
                    "a {class:?} TLP was started without credit: {:08x?}",
                    beat.header
                ));
            }
        }
        match self.assembler.push(beat) {
            None => Arrival::Nothing,
            Some(Err(what)) => Arrival::Wrong(what),
            Some(Ok(tlp)) => Arrival::Complete(tlp),
        }
    }

    /// Sends a TLP on its way.
    pub(crate) fn push(&mut self, arrives: u64, tlp: Tlp) {
        self.queue.push_back((arrives, tlp));
    }

    /// The next TLP that has arrived at the root complex by cycle `now`.
    pub(crate) fn arrived(&mut self, now: u64) -> Option<Tlp> {
        self.queue.pop_front_if(|(cycle, _)| *cycle <= now).map(|(_, tlp)| tlp)
    }

    /// When the next TLP arrives, or the next credit returns.
    pub(crate) fn next_event(&self) -> Option<u64> {
        let tlp = self.queue.front().map(|(cycle, _)| *cycle);
        let credit = self.returns.front().map(|(cycle, _)| *cycle);
        tlp.into_iter().chain(credit).min()
    }

    /// Whether the card is in the middle of a TLP.
    pub(crate) fn is_receiving(&self) -> bool {
        !self.assembler.at_start()
    }
}

#[cfg(test)]
mod tests {
    use nitride_abi::tlp::{Header, Kind};

    use super::*;

    #[test]
    fn credits_run_out_come_back_after_a_round_trip_and_are_enforced() {
        let options = LinkOptions { credits: [2, 1, 1], latency: 10, ..LinkOptions::default() };
        let mut link = Upstream::new();
        let kind = Kind::Memory { write: true, requester: 0, tag: 0, first: 15, last: 0, address: 0 };
        let beat = Tlp::new(&Header::new(1, kind), vec![0; 4]).beat(0);
        assert_eq!(link.credit(0, &options), 0b111);
        for now in 0..2 {
            assert!(matches!(link.take(now, &beat, &options), Arrival::Complete(_)));
        }
        assert_eq!(link.credit(2, &options), 0b110);
        assert_eq!(link.credit(19, &options), 0b110);
        assert_eq!(link.credit(20, &options), 0b111);
        for now in 20..25 {
            assert!(matches!(link.take(now, &beat, &options), Arrival::Complete(_)));
        }
        link.used[0] = options.credits[0] + HEADROOM;
        assert!(matches!(link.take(25, &beat, &options), Arrival::Wrong(_)));
    }
}
