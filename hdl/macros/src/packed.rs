//! `#[derive(Packed)]`. rust-hdl's own derive needs `Bits<{Self::BITS}>`, which stable Rust has not got for generic structs.
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, GenericParam, Result, parse_quote};

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    match &input.data {
        Data::Struct(data) => structure(input, &data.fields),
        Data::Enum(data) => {
            for variant in &data.variants {
                if !variant.fields.is_empty() || variant.discriminant.is_some() {
                    return Err(Error::new_spanned(
                        variant,
                        "a variant of a hardware enum has neither fields nor a value",
                    ));
                }
            }
            let variants: Vec<_> = data.variants.iter().map(|v| &v.ident).collect();
            enumeration(input, &variants)
        }
        Data::Union(_) => Err(Error::new_spanned(&input.ident, "a struct or an enum")),
    }
}

fn structure(input: &DeriveInput, fields: &Fields) -> Result<TokenStream> {
    let Fields::Named(fields) = fields else {
        return Err(Error::new_spanned(&input.ident, "a packed struct's fields have names"));
    };
    let names: Vec<_> = fields.named.iter().filter_map(|f| f.ident.as_ref()).collect();
    let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
    let types: Vec<_> = fields.named.iter().map(|f| &f.ty).collect();
    let name = &input.ident;
    let text = name.to_string();
    let mut bounded = input.generics.clone();
    for parameter in &mut bounded.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(::nitride_lang::Packed));
        }
    }
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let (packed_generics, ..) = bounded.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::nitride_lang::core::synth::Synth for #name #arguments #bounds {
            const BITS: usize = 0 #(+ <#types as ::nitride_lang::core::synth::Synth>::BITS)*;
            fn descriptor() -> ::nitride_lang::core::type_descriptor::TypeDescriptor {
                ::nitride_lang::packed::descriptor(#text, vec![
                    #((#texts, <#types as ::nitride_lang::core::synth::Synth>::descriptor())),*
                ])
            }
            fn vcd(self) -> ::nitride_lang::core::synth::VCDValue {
                ::nitride_lang::core::synth::VCDValue::Composite(vec![
                    #(Box::new(::nitride_lang::core::synth::Synth::vcd(self.#names))),*
                ])
            }
            fn verilog(self) -> ::nitride_lang::core::ast::VerilogLiteral {
                ::nitride_lang::packed::struct_literal(&[
                    #(::nitride_lang::ast::Literal::of(self.#names)),*
                ])
            }
        }
        #[automatically_derived]
        impl #packed_generics ::nitride_lang::Packed for #name #arguments #bounds {
            fn write(self, bits: &mut Vec<bool>) {
                #(::nitride_lang::Packed::write(self.#names, bits);)*
            }
            fn read(bits: &mut dyn Iterator<Item = bool>) -> Self {
                #(let #names = <#types as ::nitride_lang::Packed>::read(bits);)*
                Self { #(#names),* }
            }
            fn checked(bits: usize) -> usize {
                ::nitride_lang::packed::checked_struct(bits, &[
                    #((<#types as ::nitride_lang::core::synth::Synth>::BITS, <#types as ::nitride_lang::Packed>::checked)),*
                ])
            }
        }
    })
}

fn enumeration(input: &DeriveInput, variants: &[&syn::Ident]) -> Result<TokenStream> {
    let name = &input.ident;
    let text = name.to_string();
    let texts: Vec<_> = variants.iter().map(ToString::to_string).collect();
    let Some(first) = variants.first() else {
        return Err(Error::new_spanned(name, "an enum without variants"));
    };
    let count = variants.len();
    let codes = 0..count;
    Ok(quote! {
        #[automatically_derived]
        impl ::nitride_lang::core::synth::Synth for #name {
            const BITS: usize = ::nitride_lang::core::bits::clog2(#count);
            fn descriptor() -> ::nitride_lang::core::type_descriptor::TypeDescriptor {
                ::nitride_lang::core::type_descriptor::TypeDescriptor {
                    name: #text.into(),
                    kind: ::nitride_lang::core::type_descriptor::TypeKind::Enum(vec![#(#texts.into()),*]),
                }
            }
            fn vcd(self) -> ::nitride_lang::core::synth::VCDValue {
                ::nitride_lang::core::synth::VCDValue::String(match self { #(Self::#variants => #texts),* }.into())
            }
            fn verilog(self) -> ::nitride_lang::core::ast::VerilogLiteral {
                (self as usize).into()
            }
        }
        #[automatically_derived]
        impl ::nitride_lang::Packed for #name {
            fn write(self, bits: &mut Vec<bool>) {
                let code = self as usize;
                bits.extend((0..<Self as ::nitride_lang::core::synth::Synth>::BITS).map(|i| code >> i & 1 == 1));
            }
            fn read(bits: &mut dyn Iterator<Item = bool>) -> Self {
                let width = <Self as ::nitride_lang::core::synth::Synth>::BITS;
                match (0..width).zip(bits).map(|(i, bit)| usize::from(bit) << i).sum::<usize>() {
                    #(#codes => Self::#variants,)*
                    _ => Self::#first,
                }
            }
            fn checked(bits: usize) -> usize {
                ::nitride_lang::packed::checked_enum(bits, #count)
            }
        }
    })
}
