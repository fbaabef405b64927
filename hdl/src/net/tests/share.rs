//! One DMA client for four blocks.

use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential, low, step};

use crate::bus::{DmaDone, DmaReadRequest};
use crate::net::Share;

/// Contexts of each block.
const COUNTS: [u64; 4] = [96, 96, 32, 32];
/// Where they begin.
const FIRST: [u64; 4] = [0, 96, 192, 224];

fn request(rng: &mut Rng, reader: usize) -> DmaReadRequest {
    DmaReadRequest { context: rng.below(COUNTS[reader]).into(), ..rng.value() }
}

/// Every context of a block comes back to it, and to it alone.
#[test]
fn ends_go_back_to_whose_they_are() {
    let mut rng = Rng::new(1);
    let mut uut = Share::default();
    uut.connect_all();
    for reader in 0..4 {
        for local in 0..COUNTS[reader] {
            let done = DmaDone { context: (FIRST[reader] + local).into(), status: rng.value() };
            uut.read_done.data.next = done;
            uut.read_done.valid.next = true;
            low(&mut uut);
            assert!(uut.read_done.ready.val());
            for other in 0..4 {
                assert_eq!(uut.done[other].valid.val(), other == reader);
            }
            let given = uut.done[reader].data.val();
            assert_eq!((given.context, given.status), (local.into(), done.status));
            step(&mut uut);
        }
    }
    uut.read_done.valid.next = false;
    low(&mut uut);
    assert!((0..4).all(|reader| !uut.done[reader].valid.val()));
}

/// Each request goes out once, unchanged but for its context; who waits gets every fourth turn.
#[test]
fn reads_take_turns() {
    let mut rng = Rng::new(2);
    let mut uut = Share::default();
    uut.connect_all();
    let mut offered: [Option<DmaReadRequest>; 4] = [None; 4];
    let mut waited = [0; 4];
    let mut gone = [0; 4];
    let mut held: Option<DmaReadRequest> = None;
    for _ in 0..20_000 {
        for reader in 0..4 {
            if offered[reader].is_none() && rng.chance(3, 4) {
                offered[reader] = Some(request(&mut rng, reader));
            }
            uut.request[reader].valid.next = offered[reader].is_some();
            uut.request[reader].data.next = offered[reader].unwrap_or_default();
        }
        uut.read.ready.next = rng.chance(2, 3);
        low(&mut uut);
        let taken: Vec<usize> =
            (0..4).filter(|i| offered[*i].is_some() && uut.request[*i].ready.val()).collect();
        let shown = uut.read.valid.val().then(|| uut.read.data.val());
        assert!(held.is_none() || held == shown, "a request that waits changes");
        held = if uut.read.ready.val() { None } else { shown };
        assert_eq!(taken.len(), usize::from(shown.is_some() && uut.read.ready.val()));
        if let (Some(reader), Some(shown)) = (taken.first().copied(), shown) {
            let mut expected = offered[reader].take().unwrap_or_default();
            expected.context = (expected.context.to_u64() + FIRST[reader]).into();
            assert_eq!(shown, expected);
            gone[reader] += 1;
            for other in 0..4 {
                waited[other] =
                    if offered[other].is_some() && other != reader { waited[other] + 1 } else { 0 };
                assert!(waited[other] <= 4, "others go first");
            }
        }
        step(&mut uut);
    }
    assert!(gone.iter().all(|count| *count > 1000));
}

#[test]
fn share_verilog_equals_simulation() {
    differential(
        "net_share",
        Share::default,
        |uut, rng| {
            for reader in 0..4 {
                uut.request[reader].valid.next = rng.bit();
                uut.request[reader].data.next = request(rng, reader);
            }
            uut.read.ready.next = rng.chance(3, 4);
            uut.read_done.valid.next = rng.bit();
            uut.read_done.data.next = rng.value();
        },
        10_000,
    );
}
