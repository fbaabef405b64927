//! The Nitride card, in the hardware language of `nitride-lang`. `docs/card.md` is the guide.

pub mod bus;
pub mod card;
pub mod dma;
mod free_list;
mod function;
pub mod management;
pub mod net;
pub mod nvme;
pub mod pcie;
pub mod profile;
pub mod storage;
pub mod switch;

pub use card::Card;
pub use profile::Profile;

/// The Verilog of a card: module `card` and all that is in it.
pub fn verilog(profile: &Profile) -> Result<nitride_lang::emit::Emitted, nitride_lang::emit::EmitError> {
    nitride_lang::emit::verilog(&Card::new(profile), "card")
}
