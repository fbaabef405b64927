//! The twin of a kernel's expressions.
use crate::hardware::{Scope, rooted_in_self};
use crate::patterns::patterns;
use crate::statements::value_body;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{BinOp, Error, Expr, Ident, Member, PathArguments, Result, UnOp};

/// The expression that builds the hardware of `source`; `source` itself if it needs none.
pub fn expression(source: &Expr, scope: &Scope) -> Result<TokenStream> {
    let span = source.span();
    Ok(match source {
        Expr::MethodCall(call) if call.method == "into" => {
            let value = expression(&call.receiver, scope)?;
            quote_spanned!(span=> ::nitride_lang::twin::into(#value))
        }
        Expr::Paren(paren) => {
            let inner = expression(&paren.expr, scope)?;
            quote!((#inner))
        }
        Expr::Array(array) => {
            let hardware = scope.is_hardware(source);
            let element = |e: &Expr| {
                let value = expression(e, scope)?;
                // A constant among expressions becomes one.
                let constant = hardware && !scope.is_hardware(e);
                Ok(if constant {
                    quote_spanned!(e.span()=> ::nitride_lang::twin::Val::e(#value))
                } else {
                    value
                })
            };
            let elements = array.elems.iter().map(element).collect::<Result<Vec<_>>>()?;
            quote!([#(#elements),*])
        }
        Expr::Repeat(repeat) => {
            let (element, length) = (expression(&repeat.expr, scope)?, &repeat.len);
            quote!([#element; #length])
        }
        Expr::If(_) | Expr::Match(_) | Expr::Block(_) | Expr::Struct(_) => composite(source, scope)?,
        plain if !scope.is_hardware(plain) => quote!(#plain),
        Expr::Path(_) => quote!(#source),
        Expr::Binary(binary) => operation(binary, scope)?,
        Expr::Unary(unary) => {
            if let UnOp::Deref(star) = unary.op {
                return Err(Error::new_spanned(star, "hardware has no references"));
            }
            let (operator, operand) = (&unary.op, expression(&unary.expr, scope)?);
            quote_spanned!(span=> (#operator #operand))
        }
        Expr::Index(index) => {
            if rooted_in_self(&index.expr) {
                return Err(Error::new_spanned(source, "expected `.val()` of a signal"));
            }
            let (array, index) = (expression(&index.expr, scope)?, expression(&index.index, scope)?);
            quote_spanned!(span=> ::nitride_lang::twin::Pick::pick(#index, &#array[..]))
        }
        Expr::MethodCall(call) if call.method == "val" && rooted_in_self(&call.receiver) => {
            let signal = signal_path(&call.receiver, scope)?;
            let path = &signal.signal;
            signal.select(quote_spanned!(span=> ::nitride_lang::twin::read(&#path)))
        }
        Expr::MethodCall(call) => {
            let (receiver, name, generics) =
                (expression(&call.receiver, scope)?, &call.method, &call.turbofish);
            let arguments = call.args.iter().map(|a| expression(a, scope)).collect::<Result<Vec<_>>>()?;
            quote_spanned!(span=> #receiver.#name #generics(#(#arguments),*))
        }
        Expr::Field(field) => {
            if let Some(target) = assignment_target(source, scope)? {
                let path = &target.signal;
                let value = target.select(quote_spanned!(span=> ::nitride_lang::twin::next(&#path)));
                target.fields.iter().fold(value, |value, name| read_field(&value, name, span))
            } else if rooted_in_self(source) {
                return Err(Error::new_spanned(source, "expected `.val()` of a signal"));
            } else {
                let base = expression(&field.base, scope)?;
                let Member::Named(name) = &field.member else {
                    return Err(Error::new_spanned(source, "hardware has no tuples"));
                };
                read_field(&base, name, span)
            }
        }
        Expr::Call(call) => self::call(call, scope)?,
        Expr::Cast(cast) => {
            return Err(Error::new_spanned(cast.as_token, "`as` is not hardware; use bit_cast"));
        }
        other => return Err(Error::new_spanned(other, "this is not an expression of a kernel")),
    })
}

fn read_field(base: &TokenStream, name: &Ident, span: proc_macro2::Span) -> TokenStream {
    let text = name.to_string();
    quote_spanned!(span=> ::nitride_lang::twin::field(#base, #text, |__s| __s.#name))
}

fn operation(binary: &syn::ExprBinary, scope: &Scope) -> Result<TokenStream> {
    let span = binary.span();
    let (left, right, operator) =
        (expression(&binary.left, scope)?, expression(&binary.right, scope)?, &binary.op);
    let relation = match operator {
        BinOp::And(_) => return Ok(quote_spanned!(span=> ::nitride_lang::twin::and(#left, || #right))),
        BinOp::Or(_) => return Ok(quote_spanned!(span=> ::nitride_lang::twin::or(#left, || #right))),
        BinOp::Eq(_) => quote!(Eq),
        BinOp::Ne(_) => quote!(Ne),
        BinOp::Lt(_) => quote!(Lt),
        BinOp::Le(_) => quote!(Le),
        BinOp::Gt(_) => quote!(Gt),
        BinOp::Ge(_) => quote!(Ge),
        BinOp::Div(_) | BinOp::Rem(_) => {
            return Err(Error::new_spanned(operator, "hardware of the language does not divide"));
        }
        _ => return Ok(quote_spanned!(span=> (#left #operator #right))),
    };
    Ok(quote_spanned! {span=>
        ::nitride_lang::twin::Compare::compare(#left, ::nitride_lang::twin::Relation::#relation, #right)
    })
}

/// A call of an `#[hdl_fn]`: its twin is `hdl` of the type that has the function's name.
fn call(call: &syn::ExprCall, scope: &Scope) -> Result<TokenStream> {
    let Expr::Path(function) = &*call.func else {
        return Err(Error::new_spanned(&call.func, "only a function can be called, by its name"));
    };
    let arguments = call.args.iter().map(|a| expression(a, scope)).collect::<Result<Vec<_>>>()?;
    let mut path = function.path.clone();
    let Some(last) = path.segments.last_mut() else {
        return Err(Error::new_spanned(function, "a function without a name"));
    };
    let generics = match std::mem::replace(&mut last.arguments, PathArguments::None) {
        PathArguments::AngleBracketed(generics) => quote!(#generics),
        _ => quote!(),
    };
    Ok(quote_spanned!(call.span()=> #path::hdl #generics(#(#arguments),*)))
}

/// What is made of several expressions, some of which may be hardware even where the whole does not show it.
fn composite(source: &Expr, scope: &Scope) -> Result<TokenStream> {
    let span = source.span();
    Ok(match source {
        Expr::If(branch) => {
            let Some((_, zero)) = &branch.else_branch else {
                return Err(Error::new_spanned(source, "an `if` that is a value needs an `else`"));
            };
            let one = value_body(&branch.then_branch, &mut scope.clone())?;
            let zero = match &**zero {
                Expr::Block(block) => value_body(&block.block, &mut scope.clone())?,
                other => expression(other, scope)?,
            };
            let condition = expression(&branch.cond, scope)?;
            if scope.is_hardware(source) {
                quote_spanned!(span=> ::nitride_lang::twin::if_value(#condition, || { #one }, || { #zero }))
            } else {
                quote!(if #condition { #one } else { #zero })
            }
        }
        Expr::Match(choice) if scope.is_hardware(&choice.expr) => {
            let value = expression(&choice.expr, scope)?;
            let mut arms = vec![];
            for arm in &choice.arms {
                if let Some((_, guard)) = &arm.guard {
                    return Err(Error::new_spanned(guard, "a pattern has no condition here"));
                }
                let (patterns, body) = (patterns(&arm.pat)?, expression(&arm.body, scope)?);
                let span = arm.body.span();
                arms.push(quote_spanned! {span=>
                    ::nitride_lang::twin::arm(vec![#(#patterns),*], || ::nitride_lang::twin::Val::e(#body))
                });
            }
            quote_spanned!(span=> ::nitride_lang::twin::match_value(#value, vec![#(#arms),*]))
        }
        Expr::Match(choice) => {
            let value = &choice.expr;
            let mut arms = vec![];
            for arm in &choice.arms {
                let (pattern, body) = (&arm.pat, expression(&arm.body, scope)?);
                let guard = arm.guard.as_ref().map(|(token, guard)| quote!(#token #guard));
                arms.push(quote!(#pattern #guard => #body));
            }
            quote!(match #value { #(#arms),* })
        }
        Expr::Block(block) => {
            let body = value_body(&block.block, &mut scope.clone())?;
            quote!({ #body })
        }
        Expr::Struct(literal) => {
            let path = &literal.path;
            let (mut names, mut texts, mut values) = (vec![], vec![], vec![]);
            for field in &literal.fields {
                let Member::Named(name) = &field.member else {
                    return Err(Error::new_spanned(field, "a struct's fields have names"));
                };
                names.push(name);
                texts.push(name.to_string());
                values.push(expression(&field.expr, scope)?);
            }
            let locals: Vec<_> = names.iter().map(|name| format_ident!("__field_{}", name)).collect();
            let (base, rest) = match &literal.rest {
                Some(base) => {
                    let base = expression(base, scope)?;
                    (
                        quote!(Some(::nitride_lang::twin::Val::e(#base))),
                        quote!(..::nitride_lang::twin::phantom(__base.unwrap())),
                    )
                }
                None => (quote!(None), quote!()),
            };
            quote_spanned! {span=> {
                #(let #locals = ::nitride_lang::twin::Val::e(#values);)*
                let __base = #base;
                ::nitride_lang::twin::structure(
                    || #path { #(#names: ::nitride_lang::twin::phantom(#locals),)* #rest },
                    &[#((#texts, #locals.id())),*],
                    __base,
                )
            }}
        }
        other => return Err(Error::new_spanned(other, "this is not an expression of a kernel")),
    })
}

/// A signal of this block or of a child, on the way to which hardware may choose elements of arrays.
pub struct SignalPath {
    /// Refers to the elements that hardware chooses as `__i0`, `__i1`, …
    pub signal: TokenStream,
    /// Array and index of each of them, outermost first.
    pub indices: Vec<(TokenStream, TokenStream)>,
    /// After `next`.
    pub fields: Vec<Ident>,
}

impl SignalPath {
    /// Does something to the chosen element.
    pub fn nest(&self, action: TokenStream) -> TokenStream {
        self.indices.iter().enumerate().rev().fold(action, |inner, (n, (array, index))| {
            let i = format_ident!("__i{}", n);
            quote!(::nitride_lang::twin::ArrayIndex::each(#index, #array.len(), |#i| { #inner; }))
        })
    }
    /// The value of the chosen element.
    pub fn select(&self, value: TokenStream) -> TokenStream {
        self.indices.iter().enumerate().rev().fold(value, |inner, (n, (array, index))| {
            let i = format_ident!("__i{}", n);
            quote!(::nitride_lang::twin::ArrayIndex::select(#index, #array.len(), |#i| #inner))
        })
    }
}

fn signal_path(path: &Expr, scope: &Scope) -> Result<SignalPath> {
    match path {
        Expr::Field(field) => {
            let mut base = signal_path(&field.base, scope)?;
            let (inner, member) = (&base.signal, &field.member);
            base.signal = quote_spanned!(path.span()=> #inner.#member);
            Ok(base)
        }
        Expr::Index(index) => {
            let mut base = signal_path(&index.expr, scope)?;
            let array = base.signal.clone();
            if scope.is_hardware(&index.index) {
                let i = format_ident!("__i{}", base.indices.len());
                base.indices.push((array.clone(), expression(&index.index, scope)?));
                base.signal = quote_spanned!(path.span()=> #array[#i]);
            } else {
                let index = &index.index;
                base.signal = quote_spanned!(path.span()=> #array[#index]);
            }
            Ok(base)
        }
        Expr::Paren(paren) => signal_path(&paren.expr, scope),
        other => Ok(SignalPath { signal: quote!(#other), indices: vec![], fields: vec![] }),
    }
}

/// `self.a.b.next.f.g`: the signal `self.a.b` and the fields `f`, `g`.
pub fn assignment_target(target: &Expr, scope: &Scope) -> Result<Option<SignalPath>> {
    let mut fields = vec![];
    let mut current = target;
    while let Expr::Field(field) = current {
        let Member::Named(name) = &field.member else { return Ok(None) };
        if name == "next" && rooted_in_self(&field.base) {
            fields.reverse();
            let mut path = signal_path(&field.base, scope)?;
            path.fields = fields;
            return Ok(Some(path));
        }
        fields.push(name.clone());
        current = &field.base;
    }
    Ok(None)
}
