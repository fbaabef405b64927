//! `#[derive(LogicBlock)]`: rust-hdl's `Block`, and the wiring of clocks that goes with it.
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result};

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "a block is a struct"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(&input.ident, "a block's fields have names"));
    };
    // rust-hdl's convention: a field that begins with an underscore is configuration, not hardware.
    let fields: Vec<_> = fields
        .named
        .iter()
        .filter_map(|f| f.ident.as_ref())
        .filter(|n| !n.to_string().starts_with('_'))
        .collect();
    let names: Vec<_> = fields.iter().map(ToString::to_string).collect();
    let children: Vec<_> = fields.iter().filter(|n| **n != "clock").collect();
    let (name, (generics, arguments, bounds)) = (&input.ident, input.generics.split_for_impl());
    let wiring = if children.len() == fields.len() {
        quote! {
            fn drive(&mut self, _clock: ::nitride_lang::core::clock::Clock) {}
            fn trace(&self, _clock: &::nitride_lang::synchronous::ClockInput) {}
        }
    } else {
        quote! {
            fn drive(&mut self, clock: ::nitride_lang::core::clock::Clock) { self.clock.next = clock; }
            fn trace(&self, clock: &::nitride_lang::synchronous::ClockInput) {
                ::nitride_lang::synchronous::trace_clock(&self.clock, clock);
            }
            fn drive_children(&mut self) {
                #[allow(unused_imports)]
                use ::nitride_lang::synchronous::{DriveBlock as _, DriveOther as _, Tie};
                let clock = self.clock.val();
                #(Tie(&mut self.#children).drive(clock);)*
            }
            fn trace_children(&self) {
                #[allow(unused_imports)]
                use ::nitride_lang::synchronous::{Tie, TraceBlock as _, TraceOther as _};
                #(Tie(&self.#children).trace(&self.clock);)*
            }
        }
    };
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::nitride_lang::core::block::Block for #name #arguments #bounds {
            fn connect_all(&mut self) {
                ::nitride_lang::core::logic::Logic::connect(self);
                #(::nitride_lang::core::block::Block::connect_all(&mut self.#fields);)*
            }
            fn update_all(&mut self) {
                ::nitride_lang::core::logic::Logic::update(self);
                #(::nitride_lang::core::block::Block::update_all(&mut self.#fields);)*
            }
            fn has_changed(&self) -> bool {
                false #(|| ::nitride_lang::core::block::Block::has_changed(&self.#fields))*
            }
            fn accept(&self, name: &str, probe: &mut dyn ::nitride_lang::core::probe::Probe) {
                probe.visit_start_scope(name, self);
                #(::nitride_lang::core::block::Block::accept(&self.#fields, #names, probe);)*
                probe.visit_end_scope(name, self);
            }
        }
        #[automatically_derived]
        impl #generics ::nitride_lang::Synchronous for #name #arguments #bounds {
            #wiring
        }
    })
}
