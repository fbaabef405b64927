use proc_macro::TokenStream;
use proc_macro2::TokenStream as TS;
use quote::{format_ident, quote};
use std::collections::HashSet;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::*;

type R = Result<TS>;
thread_local! { static HW: std::cell::RefCell<HashSet<String>> = Default::default(); }
fn err<T>(s: impl Spanned, m: &str) -> Result<T> { Err(Error::new(s.span(), m)) }

/// `a += b` does not exist on Bits (and cannot be added from outside): a = a + b in BOTH bodies.
struct OpAssign;
impl VisitMut for OpAssign {
    fn visit_expr_mut(&mut self, e: &mut Expr) {
        visit_mut::visit_expr_mut(self, e);
        if let Expr::Binary(b) = e {
            let (l, r) = (&b.left, &b.right);
            let op = match b.op {
                BinOp::AddAssign(_) => quote!(+), BinOp::SubAssign(_) => quote!(-), BinOp::BitAndAssign(_) => quote!(&), BinOp::BitOrAssign(_) => quote!(|),
                BinOp::BitXorAssign(_) => quote!(^), BinOp::ShlAssign(_) => quote!(<<), BinOp::ShrAssign(_) => quote!(>>), _ => return,
            };
            *e = parse_quote!(#l = #l #op (#r));
        }
    }
}

#[proc_macro_attribute]
pub fn hdl(_a: TokenStream, item: TokenStream) -> TokenStream {
    let mut f = parse_macro_input!(item as ItemFn);
    OpAssign.visit_item_fn_mut(&mut f);
    HW.with(|h| h.borrow_mut().clear());
    let run = || -> R {
        let twin = stmts(&f.block.stmts, false)?;
        let con = con_block(&f.block.stmts, &mut HashSet::new())?;
        Ok(quote! {
            #[allow(unused_parens, unreachable_patterns, unused_mut, unused_variables, unused_assignments)] #f
            #[allow(unused_parens, unused_mut, unused_variables, unreachable_patterns)] #[automatically_derived]
            fn connect(&mut self) { #con }
            #[allow(unused_parens, unused_mut, unused_variables, unreachable_patterns)] #[automatically_derived]
            fn hdl(&self) -> ::nitride_lang::core::ast::Verilog { ::nitride_lang::kernel(::std::any::type_name::<Self>(), || { #twin }) }
        })
    };
    run().unwrap_or_else(|e| e.to_compile_error()).into()
}

/// helper function: emits the plain function (simulation) and the AST-building twin `__hdl_<name>`
#[proc_macro_attribute]
pub fn hdl_fn(_a: TokenStream, item: TokenStream) -> TokenStream {
    let mut f = parse_macro_input!(item as ItemFn);
    OpAssign.visit_item_fn_mut(&mut f);
    HW.with(|h| h.borrow_mut().clear());
    let run = || -> R {
        let mut sig = f.sig.clone();
        let name = std::mem::replace(&mut sig.ident, format_ident!("hdl"));
        let mut prologue = vec![];
        for a in sig.inputs.iter_mut() {
            let FnArg::Typed(p) = a else { return err(a, "#[hdl_fn] takes no self") };
            if is_host_ty(&p.ty) { continue }
            let (Pat::Ident(n), t) = (&*p.pat, &p.ty) else { return err(&p.pat, "parameter must be a name") };
            let id = &n.ident;
            HW.with(|h| h.borrow_mut().insert(id.to_string()));
            prologue.push(quote!(let #id: ::nitride_lang::E<#t> = ::nitride_lang::Val::e(#id);));
            let nt: Type = parse_quote!(impl ::nitride_lang::Val<T = #t>);
            *p.ty = nt;
        }
        let ReturnType::Type(_, rt) = &sig.output else { return err(&sig, "#[hdl_fn] must return a value") };
        let host = is_host_ty(rt);
        let body = stmts(&f.block.stmts, true)?;
        let body = if host { body } else { quote!(::nitride_lang::Val::e({ #body })) };
        if !host { sig.output = parse_quote!(-> ::nitride_lang::E<#rt>); }
        let (vis, mut sim) = (&f.vis, f.clone());
        let (g, ins, out, wh) = (&sig.generics, &sig.inputs, &sig.output, &sig.generics.where_clause);
        let sigr = quote!(#g (#ins) #out #wh);
        sim.attrs.push(parse_quote!(#[allow(dead_code, unused_parens)]));
        Ok(quote! { #sim #[allow(non_camel_case_types, dead_code)] #[doc(hidden)] #vis struct #name {} impl #name { #[allow(dead_code, unused_parens, unused_mut)] pub fn hdl #sigr { #(#prologue)* #body } } })
    };
    run().unwrap_or_else(|e| e.to_compile_error()).into()
}

fn is_host_ty(t: &Type) -> bool {
    ["usize", "u64", "u32", "i32", "u8", "u16", "u128"].contains(&quote!(#t).to_string().as_str())
}

// ---------------------------------------------------------------- twin: statements
fn stmts(b: &[Stmt], value: bool) -> R {
    let mut out = vec![];
    for (i, s) in b.iter().enumerate() {
        let last = i + 1 == b.len();
        out.push(match s {
            Stmt::Local(l) => local(l)?,
            Stmt::Expr(e, None) if last && value => expr(e)?,
            Stmt::Expr(e, _) => { let x = stmt(e)?; quote!(#x;) }
            Stmt::Macro(m) => stmt_macro(&m.mac, &|d, s| quote!(::nitride_lang::assign(&#d, ::nitride_lang::Read::rd(&#s));))?,
            Stmt::Item(i @ (Item::Const(_) | Item::Use(_))) => quote!(#i),
            _ => return err(s, "item not allowed in a kernel"),
        });
    }
    Ok(quote!(#(#out)*))
}
fn local(l: &Local) -> R {
    let Some(init) = &l.init else { return err(l, "`let` needs an initial value") };
    let v = expr(&init.expr)?;
    let (pat, ty) = match &l.pat { Pat::Type(t) => (&*t.pat, Some(&*t.ty)), p => (p, None) };
    let Pat::Ident(n) = pat else { return err(pat, "only `let name` / `let mut name`") };
    let (id, name) = (&n.ident, n.ident.to_string());
    let e = &init.expr;
    let hw = n.mutability.is_some() || ty.map_or_else(|| HW.with(|h| tainted(&quote!(#e), &h.borrow())), |t| !is_host_ty(t));
    HW.with(|h| if hw { h.borrow_mut().insert(name.clone()); } else { h.borrow_mut().remove(&name); });
    if !hw && ty.is_none() { return Ok(quote!(let #id = #v;)) }
    Ok(match (n.mutability.is_some(), ty) {
        (_, Some(t)) if is_host_ty(t) => quote!(let #pat: #t = #v;),
        (false, None) => quote!(let #id = ::nitride_lang::Let::let_(#v, #name);),
        (_, None) => quote!(let #id = ::nitride_lang::var(#v, #name);),
        (_, Some(t)) => quote!(let #id: ::nitride_lang::E<#t> = ::nitride_lang::var::<_, #t>(#v, #name);),
    })
}
/// clock!/dff_setup!: expand here (the emitter sees plain assignments); f builds one assignment
fn stmt_macro(m: &Macro, f: &dyn Fn(TS, TS) -> TS) -> R {
    let a: Vec<Expr> = m.parse_body_with(punctuated::Punctuated::<Expr, Token![,]>::parse_terminated)?.into_iter().collect();
    let (me, clk) = (&a[0], &a[1]);
    let mut out = vec![];
    for d in &a[2..] {
        out.push(f(quote!(#me.#d.clock), quote!(#me.#clk)));
        if m.path.is_ident("dff_setup") { out.push(f(quote!(#me.#d.d), quote!(#me.#d.q))); }
        else if !m.path.is_ident("clock") { return err(m, "only clock! and dff_setup!") }
    }
    Ok(quote!(#(#out)*))
}
fn stmt(e: &Expr) -> R {
    Ok(match e {
        Expr::Assign(a) => {
            let r = expr(&a.right)?;
            match &*a.left {
                Expr::Path(p) => quote!(::nitride_lang::set(#p, #r)),
                l => {
                    let Some((sig, fields)) = split_next(l) else { return err(l, "assign to <signal>.next[.field..]") };
                    if fields.is_empty() { quote!(::nitride_lang::assign(&#sig, #r)) }
                    else { let n: Vec<_> = fields.iter().map(|f| f.to_string()).collect(); quote!(::nitride_lang::assign_field(&#sig, &[#(#n),*], |s| s #(.#fields)*, #r)) }
                }
            }
        }
        Expr::If(i) => {
            let (c, t) = (expr(&i.cond)?, stmts(&i.then_branch.stmts, false)?);
            let e = match &i.else_branch { None => quote!(), Some((_, e)) => match &**e { Expr::Block(b) => stmts(&b.block.stmts, false)?, e => stmt(e)? } };
            quote!(::nitride_lang::if_stmt(#c, || { #t }, || { #e }))
        }
        Expr::Match(m) => {
            let s = expr(&m.expr)?;
            let mut arms = vec![];
            for a in &m.arms {
                let (p, b) = (pats(&a.pat)?, match &*a.body { Expr::Block(b) => stmts(&b.block.stmts, false)?, e => stmt(e)? });
                arms.push(quote!((vec![#(#p),*], Box::new(|| { #b }) as Box<dyn FnOnce() + '_>)));
            }
            quote!(::nitride_lang::match_stmt(#s, vec![#(#arms),*]))
        }
        Expr::ForLoop(l) => { let (p, r, b) = (&l.pat, expr(&l.expr)?, stmts(&l.body.stmts, false)?); quote!(for #p in #r { #b }) }
        Expr::Block(b) => { let b = stmts(&b.block.stmts, false)?; quote!({ #b }) }
        Expr::Macro(m) => stmt_macro(&m.mac, &|d, s| quote!(::nitride_lang::assign(&#d, ::nitride_lang::Read::rd(&#s));))?,
        Expr::Call(c) if join_link(c).is_some() => { let (j, a, b) = join_link(c).unwrap(); let f = format_ident!("{}", j); quote!(::nitride_lang::#f(&#a, &#b)) }
        Expr::Tuple(t) if t.elems.is_empty() => quote!(),
        _ => return err(e, "statement not supported in an HDL kernel"),
    })
}
fn join_link(c: &ExprCall) -> Option<(String, &Expr, &Expr)> {
    let Expr::Path(p) = &*c.func else { return None };
    let n = p.path.segments.last()?.ident.to_string();
    let (Expr::Reference(a), Expr::Reference(b)) = (c.args.first()?, c.args.last()?) else { return None };
    ((n == "join" || n == "link") && p.path.segments.len() > 1).then_some((n, &a.expr, &b.expr))
}
/// self.a.b.next.f.g -> (self.a.b, [f, g])
fn split_next(e: &Expr) -> Option<(&Expr, Vec<Ident>)> {
    let mut fields = vec![];
    let mut cur = e;
    while let Expr::Field(f) = cur {
        let Member::Named(n) = &f.member else { return None };
        if n == "next" { fields.reverse(); return Some((&f.base, fields)) }
        fields.push(n.clone());
        cur = &f.base;
    }
    None
}
fn pats(p: &Pat) -> Result<Vec<TS>> {
    Ok(match p {
        Pat::Wild(_) => vec![quote!(::nitride_lang::pat_any())],
        Pat::Or(o) => { let mut v = vec![]; for c in &o.cases { v.extend(pats(c)?) } v }
        Pat::Path(_) | Pat::Lit(_) => vec![quote!(::nitride_lang::pat(#p))],
        Pat::Ident(i) => { let i = &i.ident; vec![quote!(::nitride_lang::pat(#i))] }
        _ => return err(p, "pattern must be an enum variant, a literal or _"),
    })
}
// ---------------------------------------------------------------- twin: expressions
fn rooted_in_self(e: &Expr) -> bool {
    match e { Expr::Field(f) => rooted_in_self(&f.base), Expr::Index(i) => rooted_in_self(&i.expr), Expr::Path(p) => p.path.is_ident("self"), _ => false }
}
fn expr(e: &Expr) -> R {
    Ok(match e {
        Expr::Lit(_) | Expr::Path(_) | Expr::Const(_) => quote!(#e),
        Expr::Paren(p) => { let x = expr(&p.expr)?; quote!((#x)) }
        Expr::Binary(b) => {
            let (l, r, op) = (expr(&b.left)?, expr(&b.right)?, &b.op);
            let c = match op { BinOp::Eq(_) => "Eq", BinOp::Ne(_) => "Ne", BinOp::Lt(_) => "Lt", BinOp::Le(_) => "Le", BinOp::Gt(_) => "Gt", BinOp::Ge(_) => "Ge", _ => "" };
            match op {
                BinOp::And(_) => quote!(::nitride_lang::and(#l, || #r)),
                BinOp::Or(_) => quote!(::nitride_lang::or(#l, || #r)),
                _ if !c.is_empty() => { let c = format_ident!("{}", c); quote!(::nitride_lang::Cmp::cmp(#l, ::nitride_lang::Op::#c, #r)) }
                _ => quote!((#l #op #r)),
            }
        }
        Expr::Unary(u) => { let (op, x) = (&u.op, expr(&u.expr)?); quote!((#op #x)) }
        Expr::Cast(c) => { let (x, t) = (expr(&c.expr)?, &c.ty); quote!((#x as #t)) }
        Expr::Reference(r) => { let x = expr(&r.expr)?; quote!((&#x)) }
        Expr::Array(a) => { let v = a.elems.iter().map(expr).collect::<Result<Vec<_>>>()?; quote!([#(#v),*]) }
        Expr::Range(r) => { let (a, b, l) = (expr(r.start.as_ref().unwrap())?, expr(r.end.as_ref().unwrap())?, &r.limits); quote!(#a #l #b) }
        Expr::Index(i) => { let (a, b) = (expr(&i.expr)?, expr(&i.index)?); quote!(#a[#b]) }
        Expr::MethodCall(m) if m.method == "val" && rooted_in_self(&m.receiver) => { let r = &m.receiver; quote!(::nitride_lang::Read::rd(&#r)) }
        Expr::MethodCall(m) if m.method == "into" => { let r = expr(&m.receiver)?; quote!(::nitride_lang::hinto(#r)) }
        Expr::MethodCall(m) => {
            let (r, n, t) = (expr(&m.receiver)?, &m.method, &m.turbofish);
            let a = m.args.iter().map(expr).collect::<Result<Vec<_>>>()?;
            quote!(#r.#n #t(#(#a),*))
        }
        Expr::Field(f) => {
            if let Some((sig, fields)) = split_next(e) {
                let mut x = quote!(::nitride_lang::Read::rd(&#sig));
                for f in fields { let n = f.to_string(); x = quote!(::nitride_lang::field(#x, #n, |s| s.#f)); }
                x
            } else if rooted_in_self(e) { quote!(#e) } // plain Rust configuration field of the block
            else { let (b, m) = (expr(&f.base)?, &f.member); let n = quote!(#m).to_string(); quote!(::nitride_lang::field(#b, #n, |s| s.#m)) }
        }
        Expr::Call(c) => {
            let Expr::Path(p) = &*c.func else { return err(c, "call through a value") };
            let a = c.args.iter().map(expr).collect::<Result<Vec<_>>>()?;
            let n = p.path.segments.len();
            // Type::f(..) and these are evaluated by Rust; everything else is an #[hdl_fn]
            let assoc = n >= 2 && p.path.segments[n - 2].ident.to_string().starts_with(char::is_uppercase) || p.qself.is_some();
            let last = p.path.segments.last().unwrap().ident.to_string();
            if assoc || ["bits", "clog2"].contains(&last.as_str()) { quote!(#p(#(#a),*)) }
            else if ["bit_cast", "cat2"].contains(&last.as_str()) {
                let (id, args) = (format_ident!("__hdl_{}", last), &p.path.segments[n - 1].arguments);
                let args = if let PathArguments::AngleBracketed(x) = args { quote!(#x) } else { quote!() };
                quote!(::nitride_lang::#id #args(#(#a),*))
            } else {
                let mut p = p.clone();
                let l = p.path.segments.last_mut().unwrap();
                let g = std::mem::replace(&mut l.arguments, PathArguments::None);
                let g = if let PathArguments::AngleBracketed(x) = g { quote!(#x) } else { quote!() };
                quote!(#p::hdl #g (#(#a),*))
            }
        }
        Expr::Struct(s) => {
            if s.rest.is_some() { return err(s, "..base not supported") }
            let p = &s.path;
            let (mut names, mut ids, mut vals) = (vec![], vec![], vec![]);
            for f in &s.fields { let Member::Named(n) = &f.member else { return err(f, "named fields only") }; names.push(n.to_string()); ids.push(n); vals.push(expr(&f.expr)?); }
            let t: Vec<_> = ids.iter().map(|i| format_ident!("__f_{}", i)).collect();
            // the closure is never called: it only lets rustc infer and check the types of the fields
            quote!({ #(let #t = ::nitride_lang::Val::e(#vals);)* ::nitride_lang::structure(|| #p { #(#ids: ::nitride_lang::phantom(#t)),* }, &[#((#names, ::nitride_lang::raw(#t))),*]) })
        }
        Expr::If(i) => {
            let (c, t) = (expr(&i.cond)?, stmts(&i.then_branch.stmts, true)?);
            let Some((_, e)) = &i.else_branch else { return err(i, "if-expression needs else") };
            let e = match &**e { Expr::Block(b) => stmts(&b.block.stmts, true)?, e => expr(e)? };
            quote!(::nitride_lang::if_val(#c, || { #t }, || { #e }))
        }
        Expr::Match(m) => {
            let s = expr(&m.expr)?;
            let mut arms = vec![];
            for a in &m.arms {
                let (p, b) = (pats(&a.pat)?, expr(&a.body)?);
                arms.push(quote!((vec![#(#p),*], ::nitride_lang::arm(|| ::nitride_lang::Val::e(#b)))));
            }
            quote!(::nitride_lang::match_val(#s, vec![#(#arms),*]))
        }
        Expr::Block(b) => { let b = stmts(&b.block.stmts, true)?; quote!({ #b }) }
        _ => return err(e, "expression not supported in an HDL kernel"),
    })
}
// ---------------------------------------------------------------- connect(): every assigned signal, branches flattened, loops kept
fn tainted(e: &TS, t: &HashSet<String>) -> bool {
    e.clone().into_iter().any(|x| match x {
        proc_macro2::TokenTree::Ident(i) => i == "self" || t.contains(&i.to_string()),
        proc_macro2::TokenTree::Group(g) => tainted(&g.stream(), t), _ => false })
}
fn con_block(b: &[Stmt], t: &mut HashSet<String>) -> R {
    let mut out = vec![];
    for s in b {
        match s {
            Stmt::Local(l) => {
                let i = &l.init.as_ref().unwrap().expr;
                if tainted(&quote!(#i), t) { let p = match &l.pat { Pat::Type(p) => &*p.pat, p => p }; t.insert(quote!(#p).to_string().replace("mut ", "")); } else { out.push(quote!(#l)); }
            }
            Stmt::Expr(e, _) => out.push(con(e, t)?),
            Stmt::Macro(m) => out.push(stmt_macro(&m.mac, &|d, _| quote!(::nitride_lang::connect(&mut #d);))?),
            Stmt::Item(i) => out.push(quote!(#i)),
        }
    }
    Ok(quote!(#(#out)*))
}
fn con(e: &Expr, t: &mut HashSet<String>) -> R {
    Ok(match e {
        Expr::Assign(a) => match split_next(&a.left) { Some((s, _)) => quote!(::nitride_lang::connect(&mut #s);), None => quote!() },
        Expr::If(i) => {
            let a = con_block(&i.then_branch.stmts, t)?;
            let b = match &i.else_branch { Some((_, e)) => con(e, t)?, None => quote!() };
            let c = &i.cond;
            if tainted(&quote!(#c), t) { quote!({ #a } { #b }) } else { quote!(if #c { #a } else { #b }) }
        }
        Expr::Match(m) => { let v = m.arms.iter().map(|a| con(&a.body, t)).collect::<Result<Vec<_>>>()?; quote!(#({ #v })*) }
        Expr::Block(b) => { let b = con_block(&b.block.stmts, t)?; quote!({ #b }) }
        Expr::ForLoop(l) => { let (p, r, b) = (&l.pat, &l.expr, con_block(&l.body.stmts, t)?); quote!(for #p in #r { #b }) }
        Expr::Macro(m) => stmt_macro(&m.mac, &|d, _| quote!(::nitride_lang::connect(&mut #d);))?,
        Expr::Call(c) => match join_link(c) { Some((j, a, b)) => { let f = format_ident!("logic_connect_{}_fn", j); quote!(::nitride_lang::core::logic::#f(&mut #a, &mut #b);) } None => quote!() },
        _ => quote!(),
    })
}

/// Synth for (generic) structs: rust-hdl's LogicStruct needs Bits<{Self::BITS}>, impossible for generics on stable
#[proc_macro_derive(Packed)]
pub fn packed(i: TokenStream) -> TokenStream {
    let d = parse_macro_input!(i as DeriveInput);
    let (n, (ig, tg, wc)) = (&d.ident, d.generics.split_for_impl());
    let Data::Struct(s) = &d.data else { return Error::new(n.span(), "struct only").to_compile_error().into() };
    let (f, t): (Vec<_>, Vec<_>) = s.fields.iter().map(|f| (f.ident.clone().unwrap(), f.ty.clone())).unzip();
    quote! { impl #ig ::nitride_lang::core::synth::Synth for #n #tg #wc {
        const BITS: usize = 0 #(+ <#t as ::nitride_lang::core::synth::Synth>::BITS)*;
        fn descriptor() -> TypeDescriptor { TypeDescriptor { name: stringify!(#n).into(), kind: TypeKind::Composite(vec![#(Box::new(TypeField { fieldname: stringify!(#f).into(), kind: <#t>::descriptor() })),*]) } }
        fn vcd(self) -> VCDValue { VCDValue::Composite(vec![#(Box::new(self.#f.vcd())),*]) }
        fn verilog(self) -> VerilogLiteral { ::nitride_lang::pack(&[#((<#t>::BITS, self.#f.verilog())),*]) }
    } }.into()
}
