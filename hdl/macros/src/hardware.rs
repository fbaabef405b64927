//! Which expressions are computed by hardware, and which are Rust values when the hardware is built.
use std::collections::HashSet;
use syn::visit::{self, Visit};
use syn::{Expr, ExprField, ExprMethodCall, Ident, Member, Type};

/// The names of hardware values in scope.
#[derive(Clone, Default)]
pub struct Scope(HashSet<String>);

impl Scope {
    pub fn declare(&mut self, name: &Ident, hardware: bool) {
        if hardware {
            self.0.insert(name.to_string());
        } else {
            self.0.remove(&name.to_string());
        }
    }

    /// The expression depends on a signal. `self._field` (configuration) and `….len()` do not.
    pub fn is_hardware(&self, expression: &Expr) -> bool {
        let mut search = Search { scope: self, found: false };
        search.visit_expr(expression);
        search.found
    }
}

struct Search<'a> {
    scope: &'a Scope,
    found: bool,
}

impl<'a> Visit<'a> for Search<'a> {
    fn visit_expr(&mut self, expression: &'a Expr) {
        if let Expr::Path(path) = expression
            && let Some(name) = path.path.get_ident()
        {
            self.found |= name == "self" || self.scope.0.contains(&name.to_string());
        }
        visit::visit_expr(self, expression);
    }
    fn visit_expr_field(&mut self, field: &'a ExprField) {
        let configuration = matches!(&field.member, Member::Named(name) if name.to_string().starts_with('_'));
        if !(configuration && is_self(&field.base)) {
            visit::visit_expr_field(self, field);
        }
    }
    fn visit_expr_method_call(&mut self, call: &'a ExprMethodCall) {
        if call.method != "len" {
            visit::visit_expr_method_call(self, call);
        }
    }
}

fn is_self(expression: &Expr) -> bool {
    matches!(expression, Expr::Path(path) if path.path.is_ident("self"))
}

/// `self.a[i].b`: a signal, an interface or a block of this block.
pub fn rooted_in_self(expression: &Expr) -> bool {
    match expression {
        Expr::Field(field) => rooted_in_self(&field.base),
        Expr::Index(index) => rooted_in_self(&index.expr),
        Expr::Paren(paren) => rooted_in_self(&paren.expr),
        other => is_self(other),
    }
}

/// Rust's own integers: never computed by hardware.
pub fn is_rust_type(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    ["usize", "u8", "u16", "u32", "u64", "u128", "i32", "i64"].iter().any(|name| path.path.is_ident(name))
}
