//! The Nitride card, in the hardware language of `nitride-lang`. `docs/card.md` is the guide.

pub mod bus;
pub mod profile;
