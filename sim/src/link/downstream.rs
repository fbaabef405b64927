//! From the host to the card.

use std::collections::VecDeque;

use nitride_abi::tlp::{COMPLETION_REQUESTER, COMPLETION_TAG};
use rand::Rng;
use rand::rngs::SmallRng;

use crate::edge::Beat;
use crate::options::LinkOptions;
use crate::tlp::{Class, Tlp};

/// How far down the queue of completions disorder looks for one that may go first.
const WINDOW: usize = 16;

#[derive(Debug)]
struct Queued {
    arrives: u64,
    sequence: u64,
    tlp: Tlp,
}

/// TLPs on their way to the card's `rx`, given out under the ordering rules of PCIe 4.0 §2.4.1:
/// nothing passes a posted request, posted requests may pass all else, completions of one request stay in
/// order, and what is left is unordered.
#[derive(Debug, Default)]
pub(crate) struct Downstream {
    queues: [VecDeque<Queued>; 3],
    sequence: u64,
    sending: Option<(Tlp, usize)>,
}

impl Downstream {
    pub(crate) fn push(&mut self, arrives: u64, tlp: Tlp) {
        self.sequence += 1;
        let queue = &mut self.queues[tlp.class() as usize];
        queue.push_back(Queued { arrives, sequence: self.sequence, tlp });
    }

    /// TLPs that have not begun to cross the edge.
    pub(crate) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// When the next TLP can begin to cross the edge; every queue is sorted by arrival.
    pub(crate) fn next_arrival(&self) -> Option<u64> {
        self.queues.iter().filter_map(|queue| queue.front().map(|q| q.arrives)).min()
    }

    /// The beat to present at cycle `now`, and the TLP if the beat begins one.
    pub(crate) fn beat(
        &mut self,
        now: u64,
        options: &LinkOptions,
        rng: &mut SmallRng,
    ) -> Option<(Beat, Option<&Tlp>)> {
        let begins = self.sending.is_none();
        if begins {
            let (class, index) = self.choose(now, options.disorder, rng)?;
            self.sending = self.queues[class].remove(index).map(|queued| (queued.tlp, 0));
        }
        let (tlp, index) = self.sending.as_mut()?;
        let beat = tlp.beat(*index);
        *index += 1;
        Some((beat, begins.then_some(&*tlp)))
    }

    /// The beat that was presented has been taken.
    pub(crate) fn taken(&mut self) {
        if self.sending.as_ref().is_some_and(|(tlp, index)| *index >= tlp.beats()) {
            self.sending = None;
        }
    }

    /// Class and index of a TLP that may go now: the oldest, or any legal one under `disorder`.
    fn choose(&self, now: u64, disorder: bool, rng: &mut SmallRng) -> Option<(usize, usize)> {
        let barrier = self.queues[Class::Posted as usize].front().map_or(u64::MAX, |q| q.sequence);
        let eligible = |queued: &Queued| queued.arrives <= now && queued.sequence <= barrier;
        let mut candidates = [None; 3];
        for (candidate, queue) in candidates.iter_mut().zip(&self.queues) {
            *candidate = queue.front().filter(|q| eligible(q)).map(|q| q.sequence);
        }
        let ripe = candidates.iter().flatten().count();
        if ripe == 0 {
            return None;
        }
        if !disorder {
            let oldest = candidates.iter().flatten().min().copied();
            return candidates.iter().position(|c| *c == oldest).map(|class| (class, 0));
        }
        let nth = if ripe == 1 { 0 } else { rng.random_range(0..ripe) };
        let class = (0..3).filter(|class| candidates[*class].is_some()).nth(nth)?;
        let index = if class == Class::Completion as usize { self.completion(eligible, rng) } else { 0 };
        Some((class, index))
    }

    /// Any of the first completions that no older one of the same request precedes.
    fn completion(&self, eligible: impl Fn(&Queued) -> bool, rng: &mut SmallRng) -> usize {
        let queue = &self.queues[Class::Completion as usize];
        let limit = queue.iter().take(WINDOW).take_while(|q| eligible(q)).count();
        if limit <= 1 {
            return 0;
        }
        let index = rng.random_range(0..limit);
        let request =
            |q: &Queued| (COMPLETION_REQUESTER.get(&q.tlp.header), COMPLETION_TAG.get(&q.tlp.header));
        let wanted = request(&queue[index]);
        queue.iter().position(|q| request(q) == wanted).unwrap_or(index)
    }
}

#[cfg(test)]
mod tests {
    use nitride_abi::tlp::{Header, Kind, Status};
    use rand::SeedableRng;

    use super::*;

    fn posted(n: u8) -> Tlp {
        let kind = Kind::Memory { write: true, requester: 0, tag: n, first: 15, last: 0, address: 0 };
        Tlp::new(&Header::new(1, kind), vec![n; 4])
    }

    fn read(n: u8) -> Tlp {
        let kind = Kind::Memory { write: false, requester: 0, tag: n, first: 15, last: 0, address: 0 };
        Tlp::new(&Header::new(1, kind), vec![])
    }

    fn completion(tag: u8, n: u8) -> Tlp {
        let kind = Kind::Completion {
            data: true,
            completer: 0,
            status: Status::Success,
            byte_count: 4,
            requester: 0,
            tag,
            lower_address: 0,
        };
        Tlp::new(&Header::new(1, kind), vec![n; 4])
    }

    fn drain(link: &mut Downstream, options: &LinkOptions, rng: &mut SmallRng) -> Vec<Tlp> {
        let mut order = Vec::new();
        let mut now = 0;
        while link.len() > 0 || link.is_sending() {
            if let Some((_, Some(tlp))) = link.beat(now, options, rng) {
                order.push(tlp.clone());
            }
            link.taken();
            now += 1;
        }
        order
    }

    #[test]
    fn no_tlp_passes_a_posted_one_and_completions_of_a_tag_stay_in_order() {
        let options = LinkOptions { disorder: true, ..LinkOptions::default() };
        let mut reordered = 0;
        for seed in 0..200 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut link = Downstream::default();
            let mut sent = Vec::new();
            for n in 0..60u8 {
                let tlp = match rng.random_range(0..4) {
                    0 => posted(n),
                    1 => read(n),
                    _ => completion(rng.random_range(0..4), n),
                };
                sent.push(tlp.clone());
                link.push(rng.random_range(0..2) + u64::from(n), tlp);
            }
            // Arrivals of one queue are pushed in order, as the root complex does.
            for queue in &mut link.queues {
                let mut latest = 0;
                for queued in queue {
                    latest = latest.max(queued.arrives);
                    queued.arrives = latest;
                }
            }
            let order = drain(&mut link, &options, &mut rng);
            assert_eq!(order.len(), sent.len(), "seed {seed}");
            reordered += usize::from(order != sent);
            for (at, tlp) in order.iter().enumerate() {
                let was = sent.iter().position(|s| s == tlp).unwrap();
                for earlier in &sent[..was] {
                    let passed = !order[..at].contains(earlier);
                    let tag = |t: &Tlp| COMPLETION_TAG.get(&t.header);
                    let same_request = tlp.class() == Class::Completion
                        && earlier.class() == Class::Completion
                        && tag(tlp) == tag(earlier);
                    assert!(
                        !(passed && earlier.class() == Class::Posted),
                        "seed {seed}: a posted TLP was passed"
                    );
                    assert!(!(passed && same_request), "seed {seed}: completions of one tag were swapped");
                }
            }
        }
        assert!(reordered > 150, "disorder should reorder nearly every run, not {reordered} of 200");
    }

    #[test]
    fn without_disorder_the_order_is_that_of_sending() {
        let options = LinkOptions { disorder: false, ..LinkOptions::default() };
        let mut rng = SmallRng::seed_from_u64(1);
        let mut link = Downstream::default();
        let sent: Vec<_> = (0..30)
            .map(|n| match n % 3 {
                0 => posted(n),
                1 => read(n),
                _ => completion(n, n),
            })
            .collect();
        for tlp in &sent {
            link.push(5, tlp.clone());
        }
        assert_eq!(link.next_arrival(), Some(5));
        assert_eq!(drain(&mut link, &options, &mut rng), sent);
    }
}
