//! The twin of a kernel's statements.
use crate::expressions::{assignment_target, expression};
use crate::hardware::{Scope, is_rust_type};
use crate::patterns::patterns;
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Block, Error, Expr, Item, Local, Pat, Result, Stmt};

/// Where the source says it.
pub fn location(span: Span) -> TokenStream {
    let line = span.start().line as u32;
    quote!(::nitride_lang::ast::Location { file: file!(), line: #line })
}

/// A block whose value is not used.
pub fn body(block: &Block, scope: &mut Scope) -> Result<TokenStream> {
    let mut scope = scope.clone();
    let statements =
        block.stmts.iter().map(|s| self::statement(s, &mut scope)).collect::<Result<Vec<_>>>()?;
    Ok(quote!(#(#statements)*))
}

/// A block whose value is that of its last expression.
pub fn value_body(block: &Block, scope: &mut Scope) -> Result<TokenStream> {
    let Some((Stmt::Expr(last, None), rest)) = block.stmts.split_last() else {
        return Err(Error::new_spanned(block, "expected a block that ends with a value"));
    };
    let mut scope = scope.clone();
    let statements = rest.iter().map(|s| self::statement(s, &mut scope)).collect::<Result<Vec<_>>>()?;
    let last = expression(last, &scope)?;
    Ok(quote!(#(#statements)* #last))
}

fn statement(statement: &Stmt, scope: &mut Scope) -> Result<TokenStream> {
    match statement {
        Stmt::Local(local) => declaration(local, scope),
        Stmt::Expr(expression, _) => effect(expression, scope),
        Stmt::Item(item @ (Item::Const(_) | Item::Use(_))) => Ok(quote!(#item)),
        Stmt::Item(item) => {
            Err(Error::new_spanned(item, "in a kernel only `const` and `use` can be declared"))
        }
        Stmt::Macro(call) => Err(Error::new_spanned(call, "macros in a kernel: only clock! and dff_setup!")),
    }
}

fn declaration(local: &Local, scope: &mut Scope) -> Result<TokenStream> {
    let Some(init) = &local.init else { return Err(Error::new_spanned(local, "`let` needs a value here")) };
    if let Some((_, diverge)) = &init.diverge {
        return Err(Error::new_spanned(diverge, "`let … else` is not hardware"));
    }
    let (pattern, ty) = match &local.pat {
        Pat::Type(typed) => (&*typed.pat, Some(&*typed.ty)),
        pattern => (pattern, None),
    };
    let Pat::Ident(binding) = pattern else {
        return Err(Error::new_spanned(pattern, "`let` declares one name here"));
    };
    let (name, text, mutable) = (&binding.ident, binding.ident.to_string(), binding.mutability.is_some());
    // A `let mut` of a hardware type becomes one even if it starts with a constant, because it may be assigned later.
    let hardware = match ty {
        Some(ty) if is_rust_type(ty) => false,
        Some(_) => true,
        None => scope.is_hardware(&init.expr) || mutable && !is_integer(&init.expr),
    };
    let value = if hardware {
        expression(&init.expr, scope)?
    } else {
        let e = &init.expr;
        quote!(#e)
    };
    scope.declare(name, hardware);
    if !hardware {
        let pattern = &local.pat;
        return Ok(quote!(let #pattern = #value;));
    }
    let span = init.expr.span();
    let value = match ty {
        Some(syn::Type::Array(_)) | None => value,
        Some(ty) => quote_spanned!(span=> ::nitride_lang::twin::typed::<#ty, _>(#value)),
    };
    Ok(if mutable {
        quote_spanned!(span=> let #name = ::nitride_lang::twin::Let::variable(#value);)
    } else {
        quote_spanned!(span=> let #name = ::nitride_lang::twin::Let::name(#value, #text);)
    })
}

/// A Rust integer by its looks.
fn is_integer(expression: &Expr) -> bool {
    match expression {
        Expr::Lit(literal) => matches!(literal.lit, syn::Lit::Int(_)),
        Expr::Binary(binary) => is_integer(&binary.left) || is_integer(&binary.right),
        Expr::Cast(cast) => is_rust_type(&cast.ty),
        _ => false,
    }
}

/// An expression that stands as a statement.
fn effect(statement: &Expr, scope: &mut Scope) -> Result<TokenStream> {
    let span = statement.span();
    match statement {
        Expr::Assign(assign) => assignment(assign, scope),
        Expr::If(branch) => {
            let zero = match &branch.else_branch {
                None => quote!(),
                Some((_, zero)) => effect(zero, scope)?,
            };
            let (condition, one) = (&branch.cond, body(&branch.then_branch, scope)?);
            if let Expr::Let(pattern) = &**condition {
                return Err(Error::new_spanned(pattern, "`if let` is not hardware"));
            }
            if !scope.is_hardware(condition) {
                return Ok(quote!(if #condition { #one } else { #zero }));
            }
            let condition = expression(condition, scope)?;
            Ok(
                quote_spanned!(span=> ::nitride_lang::twin::if_statement(#condition, || { #one }, || { #zero });),
            )
        }
        Expr::Match(choice) => {
            let hardware = scope.is_hardware(&choice.expr);
            let mut arms = vec![];
            for arm in &choice.arms {
                if let Some((_, guard)) = &arm.guard {
                    return Err(Error::new_spanned(guard, "a pattern has no condition here"));
                }
                let (pattern, body) = (&arm.pat, effect(&arm.body, scope)?);
                arms.push(if hardware {
                    let patterns = patterns(pattern)?;
                    quote!(::nitride_lang::twin::arm(vec![#(#patterns),*], || { #body }))
                } else {
                    quote!(#pattern => { #body })
                });
            }
            let value = &choice.expr;
            if !hardware {
                return Ok(quote!(match #value { #(#arms)* }));
            }
            let value = expression(value, scope)?;
            Ok(quote_spanned!(span=> ::nitride_lang::twin::match_statement(#value, vec![#(#arms),*]);))
        }
        Expr::ForLoop(repeat) => {
            let (pattern, range, block) = (&repeat.pat, &repeat.expr, body(&repeat.body, scope)?);
            if scope.is_hardware(range) {
                return Err(Error::new_spanned(
                    range,
                    "a loop is unrolled, so its bounds cannot depend on a signal",
                ));
            }
            Ok(quote!(for #pattern in #range { #block }))
        }
        Expr::Block(block) => {
            let block = body(&block.block, scope)?;
            Ok(quote!({ #block }))
        }
        Expr::Call(call) => {
            let name = match &*call.func {
                Expr::Path(path) => {
                    path.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default()
                }
                _ => String::new(),
            };
            let (Some(Expr::Reference(a)), Some(Expr::Reference(b)), true) =
                (call.args.first(), call.args.last(), call.args.len() == 2)
            else {
                return Err(Error::new_spanned(call, "a call whose result is not used"));
            };
            connection(call, &name, &a.expr, &b.expr)
        }
        Expr::MethodCall(call) => {
            let Some(Expr::Reference(other)) = call.args.first() else {
                return Err(Error::new_spanned(call, "a call whose result is not used"));
            };
            connection(call, &call.method.to_string(), &call.receiver, &other.expr)
        }
        Expr::Tuple(unit) if unit.elems.is_empty() => Ok(quote!()),
        Expr::Paren(paren) => effect(&paren.expr, scope),
        other => Err(Error::new_spanned(other, "this is not a statement of a kernel")),
    }
}

fn assignment(assign: &syn::ExprAssign, scope: &Scope) -> Result<TokenStream> {
    let span = assign.span();
    let place = location(span);
    let left = &assign.left;
    if !scope.is_hardware(left) {
        let right = &assign.right;
        if scope.is_hardware(right) {
            return Err(Error::new_spanned(
                left,
                "this is a Rust value; declare it with a hardware type to assign a signal to it",
            ));
        }
        return Ok(quote!(#left = #right;));
    }
    let right = expression(&assign.right, scope)?;
    match &**left {
        Expr::Path(name) => Ok(quote_spanned!(span=> ::nitride_lang::twin::set(#name, #right);)),
        Expr::Index(element) if !crate::hardware::rooted_in_self(&element.expr) => {
            let (array, index) = (&element.expr, expression(&element.index, scope)?);
            Ok(quote_spanned! {span=> {
                let __value = ::nitride_lang::twin::Val::e(#right);
                ::nitride_lang::twin::ArrayIndex::each(#index, #array.len(), |__i| ::nitride_lang::twin::set(#array[__i], __value));
            }})
        }
        left => {
            let Some(target) = assignment_target(left, scope)? else {
                return Err(Error::new_spanned(left, "expected `self.signal.next` or a `let mut`"));
            };
            let (signal, fields) = (&target.signal, &target.fields);
            let names: Vec<_> = fields.iter().map(ToString::to_string).collect();
            let assign = if fields.is_empty() {
                quote_spanned!(span=> ::nitride_lang::twin::assign(&#signal, __value, #place))
            } else {
                quote_spanned! {span=>
                    ::nitride_lang::twin::assign_field(&#signal, &[#(#names),*], |__s| __s #(.#fields)*, __value, #place)
                }
            };
            let action = target.nest(assign);
            // The value is used once, so that rustc infers its type from the signal's.
            if target.indices.is_empty() {
                return Ok(quote_spanned!(span=> { let __value = #right; #action; }));
            }
            Ok(quote_spanned!(span=> { let __value = ::nitride_lang::twin::Val::e(#right); #action; }))
        }
    }
}

fn connection(call: &impl Spanned, name: &str, a: &Expr, b: &Expr) -> Result<TokenStream> {
    let place = location(call.span());
    match name {
        "join" => Ok(quote_spanned!(call.span()=> ::nitride_lang::twin::join(&#a, &#b, #place);)),
        "link" => Ok(quote_spanned!(call.span()=> ::nitride_lang::twin::link(&#a, &#b, #place);)),
        _ => Err(Error::new(
            call.span(),
            "a call whose result is not used; only `join` and `link` are statements",
        )),
    }
}
