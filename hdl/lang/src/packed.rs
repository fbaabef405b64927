//! Values as bits, and bits as values.
use crate::ast::{Binary, Id, Literal};
use crate::build;
use rust_hdl_core::prelude::*;

/// A value that can be had from its bits. `#[derive(Packed)]` gives it, and rust-hdl's `Synth`, to structs (generic ones too)
/// and to enums without fields.
pub trait Packed: Synth {
    /// Appends the value's bits, least significant first.
    fn write(self, bits: &mut Vec<bool>);
    /// Takes the value's bits from the front.
    fn read(bits: &mut dyn Iterator<Item = bool>) -> Self;
    /// The hardware of [`read`](Self::read): the bits themselves unless some stand for no value.
    fn checked(bits: Id) -> Id {
        bits
    }
}

impl<const N: usize> Packed for Bits<N> {
    fn write(self, bits: &mut Vec<bool>) {
        bits.extend((0..N).map(|i| self.get_bit(i)));
    }
    fn read(bits: &mut dyn Iterator<Item = bool>) -> Self {
        (0..N).zip(bits).filter(|(_, bit)| *bit).fold(Self::default(), |x, (i, _)| x.replace_bit(i, true))
    }
}
impl<const N: usize> Packed for Signed<N> {
    fn write(self, bits: &mut Vec<bool>) {
        self.inner().write(bits);
    }
    fn read(bits: &mut dyn Iterator<Item = bool>) -> Self {
        signed_cast(Bits::read(bits))
    }
}
impl Packed for bool {
    fn write(self, bits: &mut Vec<bool>) {
        bits.push(self);
    }
    fn read(bits: &mut dyn Iterator<Item = bool>) -> Self {
        bits.next().unwrap_or_default()
    }
}

/// `Bits` of any width.
pub trait AnyBits {
    /// Least significant first.
    fn all(self) -> Vec<bool>;
}
impl<const N: usize> AnyBits for Bits<N> {
    fn all(self) -> Vec<bool> {
        (0..N).map(|i| self.get_bit(i)).collect()
    }
}

pub(crate) fn to_bits<const N: usize>(value: impl Packed) -> Bits<N> {
    let mut bits = vec![];
    value.write(&mut bits);
    assert_eq!(bits.len(), N, "pack::<N>: N is the width of the type");
    Bits::read(&mut bits.into_iter())
}

pub(crate) fn from_bits<T: Packed>(bits: impl AnyBits) -> T {
    let bits = bits.all();
    assert_eq!(bits.len(), T::BITS, "unpack: as many bits as the type is wide");
    T::read(&mut bits.into_iter())
}

/// A struct's shape, for rust-hdl.
pub fn descriptor(name: &str, fields: Vec<(&str, TypeDescriptor)>) -> TypeDescriptor {
    let fields = fields.into_iter().map(|(name, kind)| Box::new(TypeField { fieldname: name.into(), kind }));
    TypeDescriptor { name: name.into(), kind: TypeKind::Composite(fields.collect()) }
}

fn wide<const N: usize>(bits: Vec<bool>) -> VerilogLiteral {
    Bits::<N>::read(&mut bits.into_iter().chain(std::iter::repeat(false))).into()
}

/// rust-hdl's literal of a struct with these fields, the first least significant. `VerilogLiteral` can only be had from types of
/// a fixed width, so it is made from wide ones; nothing here looks at the width that it carries.
///
/// # Panics
/// For structs above 64 Kibit.
pub fn struct_literal(fields: &[Literal]) -> VerilogLiteral {
    let bits: Vec<bool> = fields.iter().flat_map(|f| (0..f.width()).map(|i| f.bit(i))).collect();
    if bits.len() <= 128 {
        return bits.iter().rev().fold(0u128, |x, bit| x << 1 | u128::from(*bit)).into();
    }
    match bits.len() {
        ..=512 => wide::<512>(bits),
        513..=2048 => wide::<2048>(bits),
        2049..=65536 => wide::<65536>(bits),
        n => panic!("a struct of {n} bits is too wide"),
    }
}

/// [`Packed::checked`] of some type.
pub type Checked = fn(Id) -> Id;

/// What the hardware of [`Packed::checked`] is for an enum of `variants` values.
pub fn checked_enum(bits: Id, variants: usize) -> Id {
    let width = build::width(bits);
    if variants == 1 << width {
        return bits;
    }
    let last = build::constant(Literal::from_u64(width, variants as u64 - 1));
    let valid = build::binary(1, Binary::Le, bits, last);
    build::mux(valid, bits, build::constant(Literal::zero(width)))
}

/// The hardware of [`Packed::checked`] for a struct: each field's, the first least significant.
pub fn checked_struct(bits: Id, fields: &[(usize, Checked)]) -> Id {
    let mut lo = 0;
    let mut parts: Vec<Id> = fields
        .iter()
        .map(|(width, checked)| {
            lo += width;
            checked(build::slice(bits, lo - width, *width))
        })
        .collect();
    parts.reverse();
    build::concat(parts)
}
