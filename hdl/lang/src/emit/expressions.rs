//! Expressions in Verilog.
//!
//! Verilog widens operands to the context of an expression. Here every operand has exactly the width of its operator, and
//! what is widened is widened by concatenation, so that no context changes a value. Signed operators stand in nets of their own,
//! because an unsigned neighbour would make them unsigned (IEEE 1364-2005 §5.4, §5.5).
use super::checks::Nets;
use crate::ast::{Binary, Drive, Id, Kernel, Op, Reduction, SignalId};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// A module's expressions, and the names of those that have one.
pub struct Expressions<'a> {
    pub kernel: &'a Kernel,
    pub nets: &'a Nets,
    /// Of all nets, those that something reads; the others are left out.
    pub used: HashSet<SignalId>,
    /// What a child's clock is connected to.
    pub clocks: HashMap<SignalId, SignalId>,
    /// Of nodes that are nets.
    pub named: HashMap<Id, String>,
}

/// `[7:0] `, or nothing for one bit.
pub fn range(width: usize) -> String {
    if width == 1 { String::new() } else { format!("[{}:0] ", width - 1) }
}

impl<'a> Expressions<'a> {
    /// Chooses the nodes that become nets: those that the source names, those used more than once, and those that Verilog can
    /// only slice by a name. None is called like a signal or one of `instances`.
    pub fn new(
        kernel: &'a Kernel,
        nets: &'a Nets,
        used: HashSet<SignalId>,
        clocks: HashMap<SignalId, SignalId>,
        instances: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut this = Self { kernel, nets, used, clocks, named: HashMap::new() };
        let uses = this.uses();
        let mut taken: HashSet<String> =
            nets.values().map(|net| net.name.as_str()).chain(instances).map(String::from).collect();
        for (id, node) in kernel.nodes.iter().enumerate() {
            let Some(uses) = uses.get(&id) else { continue };
            let plain = match &node.op {
                Op::Constant(_) | Op::Signal(_) | Op::Variable => true,
                Op::Slice(base, _) => matches!(kernel.nodes[*base].op, Op::Signal(_)),
                _ => false,
            };
            let source_name = kernel.names.get(&id);
            let needed =
                uses.sliced || uses.count > 1 || uses.inside && matches!(node.op, Op::Mux(..) | Op::Case(..));
            if plain || source_name.is_none() && !needed {
                continue;
            }
            let base = source_name.map_or("t", String::as_str);
            let free = |name: &String| !super::keywords::is_keyword(name) && !taken.contains(name);
            let name = (source_name.is_some().then(|| base.to_string()).into_iter())
                .chain((1..=usize::MAX).map(|i| format!("{base}_{i}")))
                .find(free)
                .unwrap_or_default();
            taken.insert(name.clone());
            this.named.insert(id, name);
        }
        this
    }

    /// The signals that are driven and read, and their drives.
    pub fn drives(&self) -> impl Iterator<Item = (&SignalId, &Drive)> {
        self.kernel.drives.iter().filter(|(signal, _)| self.used.contains(signal))
    }

    fn uses(&self) -> HashMap<Id, Uses> {
        let mut uses: HashMap<Id, Uses> = HashMap::new();
        let mut stack: Vec<Id> = vec![];
        for (_, drive) in self.drives() {
            let entry = uses.entry(drive.value).or_default();
            entry.count += 1;
            if entry.count == 1 {
                stack.push(drive.value);
            }
        }
        while let Some(id) = stack.pop() {
            let op = &self.kernel.nodes[id].op;
            let decision = matches!(op, Op::Mux(..) | Op::Case(..));
            let selected: Vec<Id> = match op {
                Op::Mux(_, a, b) => vec![*a, *b],
                Op::Case(_, arms, default) => arms.iter().map(|(_, r)| *r).chain([*default]).collect(),
                _ => vec![],
            };
            op.operands(|operand| {
                let entry = uses.entry(operand).or_default();
                entry.count += 1;
                entry.sliced |= matches!(op, Op::Slice(..));
                entry.inside |= !(decision && selected.contains(&operand));
                if entry.count == 1 {
                    stack.push(operand);
                }
            });
        }
        uses
    }

    /// The name of a signal; clocks are those they are connected to.
    pub fn signal(&self, mut id: SignalId) -> &str {
        while let Some(source) = self.clocks.get(&id) {
            id = *source;
        }
        &self.nets[&id].name
    }

    /// A node as an operand: its name if it has one.
    pub fn operand(&self, id: Id) -> String {
        match self.named.get(&id) {
            Some(name) => name.clone(),
            None => self.expression(id),
        }
    }

    /// A node spelled out.
    pub fn expression(&self, id: Id) -> String {
        let node = &self.kernel.nodes[id];
        match &node.op {
            Op::Constant(literal) => format!("{}'h{}", node.width, literal.hex()),
            Op::Signal(signal) => self.signal(*signal).into(),
            Op::Variable => unreachable!("the handle of a `let mut` is no operand"),
            Op::Not(a) => format!("(~{})", self.operand(*a)),
            Op::Reduce(reduction, a) => {
                let operator = match reduction {
                    Reduction::Any => "|",
                    Reduction::All => "&",
                    Reduction::Parity => "^",
                };
                format!("({operator}{})", self.operand(*a))
            }
            Op::Binary(operator, a, b) => self.binary(*operator, *a, *b),
            Op::Slice(base, lo) => {
                let name = self.operand(*base);
                match (self.kernel.nodes[*base].width, node.width) {
                    (1, _) => name,
                    (_, 1) => format!("{name}[{lo}]"),
                    (_, width) => format!("{name}[{}:{lo}]", lo + width - 1),
                }
            }
            Op::Concat(parts) => {
                let repeated = parts.len() > 2 && parts[1..].iter().all(|p| *p == parts[0]);
                if repeated {
                    return format!("{{{}{{{}}}}}", parts.len(), self.operand(parts[0]));
                }
                let parts: Vec<_> = parts.iter().map(|part| self.operand(*part)).collect();
                format!("{{{}}}", parts.join(", "))
            }
            Op::Mux(condition, one, zero) => {
                format!("({} ? {} : {})", self.operand(*condition), self.operand(*one), self.operand(*zero))
            }
            Op::Case(..) => unreachable!("a case is a net or the decision of a process"),
        }
    }

    fn binary(&self, operator: Binary, a: Id, b: Id) -> String {
        let (a, b) = (self.operand(a), self.operand(b));
        let (symbol, signed) = match operator {
            Binary::Add => ("+", false),
            Binary::Sub => ("-", false),
            Binary::Mul => ("*", false),
            Binary::And => ("&", false),
            Binary::Or => ("|", false),
            Binary::Xor => ("^", false),
            Binary::Shl => ("<<", false),
            Binary::Shr => (">>", false),
            Binary::Eq => ("==", false),
            Binary::Ne => ("!=", false),
            Binary::Lt => ("<", false),
            Binary::Le => ("<=", false),
            Binary::Gt => (">", false),
            Binary::Ge => (">=", false),
            Binary::SignedLt => ("<", true),
            Binary::SignedLe => ("<=", true),
            Binary::SignedGt => (">", true),
            Binary::SignedGe => (">=", true),
        };
        if signed { format!("($signed({a}) {symbol} $signed({b}))") } else { format!("({a} {symbol} {b})") }
    }

    /// The node decides by statements rather than by an operator.
    pub fn decides(&self, id: Id) -> bool {
        match &self.kernel.nodes[id].op {
            Op::Case(..) => true,
            Op::Mux(_, one, zero) => [one, zero].iter().any(|arm| {
                !self.named.contains_key(arm)
                    && matches!(self.kernel.nodes[**arm].op, Op::Mux(..) | Op::Case(..))
            }),
            _ => false,
        }
    }

    /// Statements that give `target` the node's value.
    pub fn decide(&self, target: &str, id: Id, root: bool, indent: usize, text: &mut String) {
        let pad = "  ".repeat(indent);
        let own = root || !self.named.contains_key(&id);
        match &self.kernel.nodes[id].op {
            Op::Mux(condition, one, zero) if own => {
                let _ = writeln!(text, "{pad}if ({}) begin", self.operand(*condition));
                self.decide(target, *one, false, indent + 1, text);
                let _ = writeln!(text, "{pad}end else begin");
                self.decide(target, *zero, false, indent + 1, text);
                let _ = writeln!(text, "{pad}end");
            }
            Op::Case(value, arms, default) if own => {
                let _ = writeln!(text, "{pad}case ({})", self.operand(*value));
                for (patterns, result) in arms {
                    let patterns: Vec<_> = patterns.iter().map(|p| self.expression(*p)).collect();
                    let _ = writeln!(text, "{pad}  {}: begin", patterns.join(", "));
                    self.decide(target, *result, false, indent + 2, text);
                    let _ = writeln!(text, "{pad}  end");
                }
                let _ = writeln!(text, "{pad}  default: begin");
                self.decide(target, *default, false, indent + 2, text);
                let _ = writeln!(text, "{pad}  end\n{pad}endcase");
            }
            _ => {
                let value = if root { self.expression(id) } else { self.operand(id) };
                let _ = writeln!(text, "{pad}{target} = {value};");
            }
        }
    }
}

#[derive(Default)]
struct Uses {
    count: usize,
    /// It is sliced.
    sliced: bool,
    /// It is an operand of something other than a decision's result.
    inside: bool,
}
