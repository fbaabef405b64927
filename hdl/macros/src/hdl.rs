//! `#[hdl]`: the kernel of a block.
use crate::desugar::desugar;
use crate::hardware::Scope;
use crate::statements::{body, location};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, ItemFn, Result, parse_quote};

pub fn expand(mut function: ItemFn) -> Result<TokenStream> {
    if function.sig.ident != "update" {
        return Err(syn::Error::new_spanned(
            &function.sig.ident,
            "#[hdl] goes on `fn update(&mut self)` of an `impl Logic`",
        ));
    }
    // The receiver as the source wrote it: a `self` of the macro's own would not be the one that the body names.
    let Some(FnArg::Receiver(receiver)) = function.sig.inputs.first() else {
        return Err(syn::Error::new_spanned(&function.sig, "a kernel is `fn update(&mut self)`"));
    };
    let this = receiver.self_token;
    desugar(&mut function)?;
    let twin = body(&function.block, &mut Scope::default())?;
    let place = location(function.sig.ident.span());
    function.block.stmts.insert(0, parse_quote!(::nitride_lang::Synchronous::drive_children(#this);));
    Ok(quote! {
        #[allow(unused_parens, unreachable_patterns, unused_mut, unused_variables, unused_assignments, clippy::all, clippy::pedantic)]
        #function
        #[allow(unused_parens, unused_mut, unused_variables, unused_assignments, unreachable_patterns, unreachable_code, clippy::all, clippy::pedantic)]
        #[automatically_derived]
        fn hdl(&#this) -> ::nitride_lang::core::ast::Verilog {
            ::nitride_lang::twin::kernel(::std::any::type_name::<Self>(), #place, || {
                ::nitride_lang::Synchronous::trace_children(#this);
                #twin
            })
        }
    })
}
