use std::collections::HashMap;

use nitride_abi::card::BAR0_SIZE;
use nitride_abi::management::{VOLUME_FLAGS_MASK, VOLUMES};

use super::*;
use crate::{Access, Bar, Info, Interrupts, Memory, check_bar_access};

/// PF0's registers, as their description has them.
struct Registers {
    info: Info,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    registers: HashMap<u64, u64>,
    table: HashMap<u64, [u64; 3]>,
    /// A defect: bits of the base that the table does not keep.
    lost: u64,
}

const WINDOW: [u64; 3] = [registers::VOLUME_FLAGS, registers::VOLUME_BASE, registers::VOLUME_BLOCKS];

impl Registers {
    fn new(lost: u64) -> Arc<Self> {
        let mut bars = [None; 6];
        bars[0] = Some(Bar { size: BAR0_SIZE, wide: true, prefetchable: true });
        let profile = Profile { vfs: 8, namespaces: 4, queues: 8, counters: 16 };
        let fixed = [
            (registers::IDENTIFICATION, registers::MAGIC),
            (registers::VERSION, registers::VERSION_VALUE),
            (registers::PROFILE, profile.encode()),
            (Counter::Commands.offset(), 77),
        ];
        let state = State { registers: fixed.into(), lost, ..State::default() };
        let info = Info { name: "registers".into(), bars, msix_vectors: 0, config_size: 4096 };
        Arc::new(Self { info, state: Mutex::new(state) })
    }
}

impl Function for Registers {
    fn info(&self) -> &Info {
        &self.info
    }

    fn config_read(&self, _offset: u16, data: &mut [u8]) -> function::Result<()> {
        data.fill(0);
        Ok(())
    }

    fn config_write(&self, _offset: u16, _data: &[u8]) -> function::Result<()> {
        Ok(())
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> function::Result<()> {
        check_bar_access(&self.info, "BAR read", bar, offset, data.len())?;
        let value = self.state.lock().unwrap().registers.get(&offset).copied().unwrap_or(0);
        data.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> function::Result<()> {
        check_bar_access(&self.info, "BAR write", bar, offset, data.len())?;
        let value = u64::from_le_bytes(data.try_into().unwrap());
        let mut state = self.state.lock().unwrap();
        match offset {
            registers::VOLUME_INDEX => {
                assert!(value < VOLUMES as u64);
                state.registers.insert(offset, value);
                let entry = state.table.get(&value).copied().unwrap_or_default();
                state.registers.extend(WINDOW.into_iter().zip(entry));
            }
            registers::VOLUME_FLAGS => drop(state.registers.insert(offset, value & VOLUME_FLAGS_MASK)),
            registers::VOLUME_BASE | registers::VOLUME_BLOCKS => drop(state.registers.insert(offset, value)),
            registers::VOLUME_COMMIT => {
                let mut entry = WINDOW.map(|register| state.registers[&register]);
                entry[1] &= !state.lost;
                let index = state.registers[&registers::VOLUME_INDEX];
                state.table.insert(index, entry);
            }
            _ => {}
        }
        Ok(())
    }

    fn set_msix(&self, _vectors: Interrupts<'_>) -> function::Result<()> {
        Ok(())
    }

    fn dma_map(&self, _iova: u64, _memory: Arc<Memory>, _access: Access) -> function::Result<()> {
        Ok(())
    }

    fn dma_unmap(&self, _iova: u64, _len: u64) -> function::Result<()> {
        Ok(())
    }

    fn reset(&self) -> function::Result<()> {
        Ok(())
    }
}

const VOLUME: Volume = Volume { base: 0x1234_5000, blocks: 4096, large_blocks: true, read_only: true };

#[test]
fn a_volume_is_set_listed_and_cleared() {
    let card = Management::open(Registers::new(0)).unwrap();
    assert_eq!(card.volumes().unwrap(), []);
    let other = Volume { base: 0, blocks: 1, large_blocks: false, read_only: false };
    card.set_volume(8, 4, VOLUME).unwrap();
    card.set_volume(0, 1, other).unwrap();
    assert_eq!(card.volumes().unwrap(), [(0, 1, other), (8, 4, VOLUME)]);
    card.clear_volume(8, 4).unwrap();
    assert_eq!(card.volume(8, 4).unwrap(), None);
    assert_eq!(card.volumes().unwrap(), [(0, 1, other)]);
}

#[test]
fn impossible_volumes_are_refused_before_the_card_sees_them() {
    let registers = Registers::new(0);
    let card = Management::open(registers.clone()).unwrap();
    let refused = |controller, nsid, volume| {
        matches!(card.set_volume(controller, nsid, volume), Err(Error::Volume { .. }))
    };
    assert!(refused(9, 1, VOLUME) && refused(0, 0, VOLUME) && refused(0, 5, VOLUME));
    assert!(
        refused(0, 1, Volume { base: 512, ..VOLUME }) && refused(0, 1, Volume { base: 1 << 48, ..VOLUME })
    );
    assert!(
        refused(0, 1, Volume { blocks: 0, ..VOLUME }) && refused(0, 1, Volume { blocks: 1 << 40, ..VOLUME })
    );
    assert!(registers.state.lock().unwrap().table.is_empty());
}

#[test]
fn a_card_that_stores_something_else_is_noticed() {
    let card = Management::open(Registers::new(0x4000)).unwrap();
    assert!(matches!(card.set_volume(0, 1, VOLUME), Err(Error::Volume { .. })));
}

#[test]
fn counters_are_read_by_name() {
    let card = Management::open(Registers::new(0)).unwrap();
    let counters = card.counters().unwrap();
    assert_eq!(counters.len(), 16);
    assert!(counters.contains(&(Counter::Commands, 77)) && counters.contains(&(Counter::Malformed, 0)));
}

#[test]
fn other_functions_and_versions_are_refused() {
    let registers = Registers::new(0);
    registers.state.lock().unwrap().registers.insert(registers::VERSION, 2 << 16);
    let error = Management::open(registers.clone()).err().unwrap().to_string();
    assert_eq!(error, "registers: its registers are of version 2, this program knows version 1");
    registers.state.lock().unwrap().registers.insert(registers::IDENTIFICATION, 0);
    assert!(matches!(Management::open(registers), Err(Error::NotManagement { .. })));
}
