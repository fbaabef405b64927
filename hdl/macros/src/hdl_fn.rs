//! `#[hdl_fn]`: a function that kernels call.
use crate::desugar::desugar;
use crate::hardware::{Scope, is_rust_type};
use crate::statements::value_body;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, FnArg, ItemFn, Pat, Result, ReturnType, parse_quote};

/// The twin is `hdl` of a type with the function's name, so that one `use` brings both: they live in different namespaces.
pub fn expand(mut function: ItemFn) -> Result<TokenStream> {
    desugar(&mut function)?;
    let mut signature = function.sig.clone();
    let name = std::mem::replace(&mut signature.ident, format_ident!("hdl"));
    let mut scope = Scope::default();
    let mut parameters = vec![];
    for input in &mut signature.inputs {
        let FnArg::Typed(parameter) = input else {
            return Err(Error::new_spanned(input, "#[hdl_fn] goes on a free function"));
        };
        if is_rust_type(&parameter.ty) {
            continue;
        }
        let Pat::Ident(pattern) = &*parameter.pat else {
            return Err(Error::new_spanned(&parameter.pat, "a parameter of an #[hdl_fn] is a name"));
        };
        if pattern.mutability.is_some() {
            return Err(Error::new_spanned(pattern, "a parameter cannot be `mut`; start with `let mut`"));
        }
        let (name, ty) = (&pattern.ident, &parameter.ty);
        scope.declare(name, true);
        parameters
            .push(quote!(let #name: ::nitride_lang::twin::E<#ty> = ::nitride_lang::twin::Val::e(#name);));
        *parameter.ty = parse_quote!(impl ::nitride_lang::twin::Val<T = #ty>);
    }
    let ReturnType::Type(_, result) = &signature.output else {
        return Err(Error::new_spanned(&signature, "an #[hdl_fn] returns a value"));
    };
    let mut body = value_body(&function.block, &mut scope)?;
    if !is_rust_type(result) {
        body = quote!(::nitride_lang::twin::typed::<#result, _>({ #body }));
        signature.output = parse_quote!(-> ::nitride_lang::twin::E<#result>);
    }
    let visibility = &function.vis;
    Ok(quote! {
        #[allow(dead_code, unused_parens, clippy::all, clippy::pedantic)]
        #function
        #[allow(non_camel_case_types, dead_code, missing_docs)]
        #[doc(hidden)]
        #visibility struct #name {}
        impl #name {
            #[allow(dead_code, unused_parens, unused_mut, unused_variables, unused_assignments, missing_docs, clippy::all, clippy::pedantic)]
            pub #signature {
                #(#parameters)*
                #body
            }
        }
    })
}
