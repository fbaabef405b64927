//! Patterns of a `match`.
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Expr, Lit, Pat, RangeLimits, Result};

/// The constants that a pattern stands for, as expressions of the twin.
pub fn patterns(pattern: &Pat) -> Result<Vec<TokenStream>> {
    Ok(match pattern {
        Pat::Wild(_) => vec![quote!(::nitride_lang::twin::any())],
        Pat::Or(or) => or.cases.iter().map(patterns).collect::<Result<Vec<_>>>()?.concat(),
        Pat::Paren(paren) => patterns(&paren.pat)?,
        Pat::Path(_) | Pat::Lit(_) => vec![quote!(::nitride_lang::twin::pattern(#pattern))],
        Pat::Range(range) => {
            let bounds = (range.start.as_deref().and_then(integer), range.end.as_deref().and_then(integer));
            let (Some(first), Some(last)) = bounds else {
                return Err(Error::new_spanned(range, "both bounds of a range are integer literals here"));
            };
            let end = if matches!(range.limits, RangeLimits::Closed(_)) { last + 1 } else { last };
            if end.saturating_sub(first) > 256 {
                return Err(Error::new_spanned(range, "a range of more than 256 values; compare instead"));
            }
            (first..end).map(|value| quote!(::nitride_lang::twin::pattern(#value))).collect()
        }
        Pat::Ident(name) if name.ident.to_string().chars().all(|c| !c.is_lowercase()) => {
            vec![quote!(::nitride_lang::twin::pattern(#name))]
        }
        Pat::Ident(name) => {
            return Err(Error::new_spanned(name, "a pattern cannot bind a name here; use `_`"));
        }
        other => {
            return Err(Error::new_spanned(
                other,
                "a pattern is a variant, a literal, a constant, a range, or `_`",
            ));
        }
    })
}

fn integer(bound: &Expr) -> Option<usize> {
    match bound {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(value) => value.base10_parse().ok(),
            _ => None,
        },
        _ => None,
    }
}
