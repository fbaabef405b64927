//! Random configuration writes against a model of the masks that was written from the specification, not from `nitride_abi`.

use std::collections::HashMap;

use nitride_lang::testing::{Rng, low, step};

use crate::pcie::Config;
use crate::pcie::request::{ConfigRequest, Outcome};
use crate::profile::Profile;

/// One function's registers: value after reset, RW and RW1C masks, by offset. What is missing is 0 and read-only.
fn registers(function: u8) -> HashMap<u16, (u32, u32, u32)> {
    let pf = |offset: u16, id: u32, class: u32, next: u32, ari: u32| {
        vec![
            (0x00, id, 0, 0),
            (0x04, 0x0010_0000, 0x0000_0546, 0xf900_0000),
            (0x08, class, 0, 0),
            (0x0c, 0x0080_0000, 0xff, 0),
            (0x10, 0xc, 0xffff_c000, 0),
            (0x14, 0, 0xffff_ffff, 0),
            (0x2c, id, 0, 0),
            (0x34, 0x40, 0, 0),
            (0x3c, 0, 0xff, 0),
            (0x40, 0x0003_5001, 0, 0),
            (0x44, 0x8, 0x3, 0),
            (0x50, 0x0002_0010 | next << 8, 0, 0),
            (0x54, 0x1000_8022, 0, 0),
            (0x58, 0x0000_2100, 0x71ef, 0x000f_0000),
            (0x5c, 0x0040_0104, 0, 0),
            (0x60, 0x1104_0000, 0xc8, 0),
            (0x74, 0x0001_0010, 0, 0),
            (0x78, 0, 0x10, 0),
            (0x7c, 0x1e, 0, 0),
            (0x80, 0x001e_0004, 0xf, 0),
            (0x100, 0x1402_0001, 0, 0),
            (0x104, 0, 0, 0x0017_d010),
            (0x108, 0, 0x0017_d010, 0),
            (0x10c, 0x0006_0010, 0x0017_d010, 0),
            (0x110, 0, 0, 0x31c1),
            (0x114, 0x2000, 0x31c1, 0),
            (0x140, 0x1501_0003, 0, 0),
            (0x144, 0xfe00_0001, 0, 0),
            (0x148, 0x4e54_00ff, 0, 0),
            (0x150, 0x0001_000e | u32::from(offset) << 20, 0, 0),
            (0x154, ari << 8, 0, 0),
        ]
    };
    let msix = [(0x90, 0x0007_0011, 0xc000_0000, 0), (0x94, 0x2000, 0, 0), (0x98, 0x3000, 0, 0)];
    let list = match function {
        0 => pf(0, 0x0001_4e54, 0x0880_0001, 0, 1),
        2 => {
            let mut list = pf(0x160, 0x0003_4e54, 0x0108_0201, 0x90, 0);
            list.extend(msix);
            // SR-IOV, VF Enable left out: it would bring VFs. NumVFs has four bits, the VF BAR 16 KiB.
            list.extend([
                (0x160, 0x0001_0010, 0, 0),
                (0x164, 0x2, 0, 0),
                (0x168, 0, 0x18, 0),
                (0x16c, 0x0008_0008, 0, 0),
                (0x170, 0x0002_0000, 0xf, 0),
                (0x174, 0x0001_000e, 0, 0),
                (0x178, 0x0004_0000, 0, 0),
                (0x17c, 0x553, 0, 0),
                (0x180, 1, 0x553, 0),
                (0x184, 0xc, 0xffff_c000, 0),
                (0x188, 0, 0xffff_ffff, 0),
            ]);
            list
        }
        _ => {
            let mut list = vec![
                (0x00, 0xffff_ffff, 0, 0),
                (0x04, 0x0010_0000, 0x4, 0xf900_0000),
                (0x08, 0x0108_0201, 0, 0),
                (0x2c, 0x0004_4e54, 0, 0),
                (0x34, 0x50, 0, 0),
                (0x50, 0x0002_9010, 0, 0),
                (0x54, 0x1000_8022, 0, 0),
                (0x58, 0, 0, 0x000f_0000),
                (0x5c, 0x0040_0104, 0, 0),
                (0x74, 0x0001_0010, 0, 0),
                (0x7c, 0x1e, 0, 0),
                (0x100, 0x0001_000e, 0, 0),
            ];
            list.extend(msix);
            list
        }
    };
    list.into_iter().map(|(offset, reset, write, clear)| (offset, (reset, write, clear))).collect()
}

struct Bench {
    uut: Config,
}

impl Bench {
    fn access(&mut self, write: bool, function: u8, offset: u16, data: u32, enable: u8) -> (Outcome, u32) {
        let uut = &mut self.uut;
        uut.response.ready.next = true;
        uut.flr.ready.next = true;
        uut.request.valid.next = true;
        uut.request.data.next = ConfigRequest {
            write,
            target: u64::from(function).into(),
            register: u64::from(offset / 4).into(),
            data: u64::from(data).into(),
            enable: u64::from(enable).into(),
        };
        low(uut);
        assert!(uut.request.ready.val(), "requests come one by one");
        step(uut);
        uut.request.valid.next = false;
        for _ in 0..4000 {
            low(uut);
            let (valid, answer) = (uut.response.valid.val(), uut.response.data.val());
            step(uut);
            if valid {
                return (answer.outcome, answer.data.to_u32());
            }
        }
        panic!("no answer");
    }
}

#[test]
fn random_writes_obey_the_masks() {
    let seed = 0x0c0f_f1e5;
    println!("seed {seed:#x}");
    let mut rng = Rng::new(seed);
    let mut bench = Bench { uut: Config::new(&Profile::LAB) };
    assert_eq!(bench.access(true, 2, 0x170, 8, 0xf).0, Outcome::Success);
    assert_eq!(bench.access(true, 2, 0x168, 1, 0xf).0, Outcome::Success);
    let functions = [0, 2, 16, 21, 23];
    let tables = functions.map(registers);
    let mut values = tables.each_ref().map(|t| t.iter().map(|(o, r)| (*o, r.0)).collect::<HashMap<_, _>>());
    values[1].insert(0x170, 0x0002_0008);
    values[1].insert(0x168, 1);
    for _ in 0..3000 {
        let at = rng.below(functions.len() as u64) as usize;
        let known: Vec<u16> = {
            let mut known: Vec<_> = tables[at].keys().copied().collect();
            known.sort_unstable();
            known
        };
        let offset = if rng.chance(9, 10) { rng.pick(&known) } else { rng.below(1024) as u16 * 4 };
        let (mut data, enable) = (rng.word() as u32, rng.below(16) as u8);
        let (_, mut write, clear) = tables[at].get(&offset).copied().unwrap_or_default();
        match offset {
            // No resets here, no VFs that go, no reserved power state, and the VF BAR of small pages.
            0x58 => data &= !0x8000,
            0x168 => data |= 1,
            0x44 => data = data & !3 | if data & 1 == 1 { 3 } else { 0 },
            0x180 => data = 1,
            // NumVFs is fixed while VFs are enabled.
            0x170 => write = 0,
            _ => {}
        }
        let bytes = (0..4).filter(|i| enable >> i & 1 == 1).fold(0, |m, i| m | 0xff << (8 * i));
        let value = values[at].entry(offset).or_default();
        *value = (*value & !(write & bytes) & !(data & clear & bytes)) | (data & write & bytes);
        assert_eq!(bench.access(true, functions[at], offset, data, enable).0, Outcome::Success);
        let (outcome, got) = bench.access(false, functions[at], offset, 0, 0);
        assert_eq!(outcome, Outcome::Success);
        assert_eq!(
            got, *value,
            "function {} offset {offset:#x} after {data:#x} ({enable:04b})",
            functions[at]
        );
    }
    for (function, values) in functions.iter().zip(&values) {
        for offset in (0..0x200).step_by(4) {
            let got = bench.access(false, *function, offset, 0, 0).1;
            assert_eq!(
                got,
                values.get(&offset).copied().unwrap_or(0),
                "function {function} offset {offset:#x}"
            );
        }
    }
}
