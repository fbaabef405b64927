//! The macros of the hardware language; `nitride_lang` documents and re-exports them.
mod desugar;
mod expressions;
mod hardware;
mod hdl;
mod hdl_fn;
mod logic_block;
mod packed;
mod patterns;
mod statements;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

/// On `fn update(&mut self)` of an `impl Logic`: keeps the body for simulation and adds the hardware it describes.
///
/// Before the body runs, the block's `clock` is handed to every register, memory and sub-block, and every register's `d` is
/// set to its `q`.
#[proc_macro_attribute]
pub fn hdl(_: TokenStream, item: TokenStream) -> TokenStream {
    expand(parse_macro_input!(item as ItemFn), hdl::expand)
}

/// On a function of hardware values that kernels call: keeps it, and adds its twin that builds hardware.
#[proc_macro_attribute]
pub fn hdl_fn(_: TokenStream, item: TokenStream) -> TokenStream {
    expand(parse_macro_input!(item as ItemFn), hdl_fn::expand)
}

/// A function that cannot be expanded stays beside the error, so that rustc does not miss it as well.
fn expand(item: ItemFn, with: impl Fn(ItemFn) -> syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    with(item.clone())
        .unwrap_or_else(|error| {
            let error = error.to_compile_error();
            // `compile_error!` is an expression too, which a trait's implementation takes only inside of a function.
            let mut item = item;
            item.block = syn::parse_quote!({ #error });
            quote::quote!(#[allow(unused)] #item)
        })
        .into()
}

/// Makes a struct a block: its fields are signals, interfaces and blocks; those whose name begins with `_` are configuration.
#[proc_macro_derive(LogicBlock)]
pub fn logic_block(input: TokenStream) -> TokenStream {
    logic_block::derive(&parse_macro_input!(input as DeriveInput))
        .unwrap_or_else(|e| e.to_compile_error())
        .into()
}

/// Makes a struct (generic or not) or an enum without fields a value that signals carry, and that bits can be read as.
#[proc_macro_derive(Packed)]
pub fn packed(input: TokenStream) -> TokenStream {
    packed::derive(&parse_macro_input!(input as DeriveInput)).unwrap_or_else(|e| e.to_compile_error()).into()
}
