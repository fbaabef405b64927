//! What is rewritten in the simulated body and in the twin alike.
use syn::visit_mut::{self, VisitMut};
use syn::{
    BinOp, Expr, ItemFn, Macro, Result, Stmt, Token, parse_quote, parse_quote_spanned,
    punctuated::Punctuated, spanned::Spanned,
};

/// Replaces `a += b` by `a = a + b` (`Bits` has no `+=` and cannot be given one), `clock!` and `dff_setup!` by assignments.
pub fn desugar(function: &mut ItemFn) -> Result<()> {
    let mut desugar = Desugar(None);
    desugar.visit_item_fn_mut(function);
    desugar.0.map_or(Ok(()), Err)
}

struct Desugar(Option<syn::Error>);

impl VisitMut for Desugar {
    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        visit_mut::visit_expr_mut(self, expression);
        let Expr::Binary(binary) = expression else { return };
        let operator: BinOp = match binary.op {
            BinOp::AddAssign(_) => parse_quote!(+),
            BinOp::SubAssign(_) => parse_quote!(-),
            BinOp::BitAndAssign(_) => parse_quote!(&),
            BinOp::BitOrAssign(_) => parse_quote!(|),
            BinOp::BitXorAssign(_) => parse_quote!(^),
            BinOp::ShlAssign(_) => parse_quote!(<<),
            BinOp::ShrAssign(_) => parse_quote!(>>),
            _ => return,
        };
        let (left, right) = (&binary.left, &binary.right);
        *expression = parse_quote_spanned!(binary.span()=> #left = #left #operator (#right));
    }

    fn visit_stmt_mut(&mut self, statement: &mut Stmt) {
        visit_mut::visit_stmt_mut(self, statement);
        let Stmt::Macro(call) = statement else { return };
        match wiring(&call.mac) {
            Ok(block) => *statement = block,
            Err(error) => self.0 = Some(error),
        }
    }
}

/// `clock!(self, clock, a, b)` and `dff_setup!(self, clock, a, b)`.
fn wiring(call: &Macro) -> Result<Stmt> {
    let registers = if call.path.is_ident("dff_setup") {
        true
    } else if call.path.is_ident("clock") {
        false
    } else {
        return Err(syn::Error::new_spanned(call, "macros in a kernel: only clock! and dff_setup!"));
    };
    let arguments = call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated)?;
    let mut arguments = arguments.iter();
    let (Some(this), Some(clock)) = (arguments.next(), arguments.next()) else {
        return Err(syn::Error::new_spanned(call, "expected (self, clock, children…)"));
    };
    let assignments: Vec<Stmt> = arguments
        .flat_map(|child| {
            let clock: Stmt = parse_quote!(#this.#child.clock.next = #this.#clock.val(););
            let hold: Option<Stmt> =
                registers.then(|| parse_quote!(#this.#child.d.next = #this.#child.q.val();));
            [Some(clock), hold].into_iter().flatten()
        })
        .collect();
    Ok(parse_quote!({ #(#assignments)* }))
}
