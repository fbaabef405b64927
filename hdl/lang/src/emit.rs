//! (B) emitter: Probe -> module tree -> checked, width-exact, deduplicated Verilog
use crate::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

#[derive(Clone, Debug)]
pub struct At { pub name: String, pub id: usize, pub kind: AtomKind, pub w: usize, pub clock: bool }
pub enum Code { Kernel(Kernel), Dff(String), Ram, Raw(String), Black(BlackBox) }
pub struct Mod { pub inst: String, pub atoms: Vec<At>, pub kids: Vec<Mod>, pub code: Code }
#[derive(Default)]
struct Tree { stack: Vec<Mod>, ns: Vec<String>, done: Option<Mod> }
/// rust-hdl's derives refuse only 6 keywords
fn esc(n: &str) -> String { if " always and assign begin bit buf case default do else end enum event final for force function generate if initial inout input integer join logic module nand negedge nor not or output packed parameter posedge pulldown pullup reg repeat signed string strong struct supply table task this time type union unsigned var void wait wand while wire with wor xnor xor ".contains(&format!(" {n} ")) { format!("{n}_") } else { n.into() } }
fn after_h(s: &str) -> String { let s = s.split_once("'h").unwrap().1; s.chars().take_while(|c| c.is_ascii_hexdigit()).collect() }
impl Probe for Tree {
    fn visit_start_scope(&mut self, name: &str, node: &dyn Block) {
        take();
        let v = node.hdl();
        let t = node.timing().first().map(|t| t.name.clone()).unwrap_or_default();
        let code = match (take(), v, t.as_str()) {
            (Some(k), ..) => Code::Kernel(k),
            (_, Verilog::Custom(s), "dff") => Code::Dff(after_h(&s)),
            (_, Verilog::Custom(_), "ram_read") => Code::Ram,
            (_, Verilog::Custom(s), _) => Code::Raw(s),
            (_, Verilog::Blackbox(b), _) => Code::Black(b),
            (_, v, _) => panic!("{name}: block has no nitride_lang kernel ({v:?})"),
        };
        self.stack.push(Mod { inst: esc(name), atoms: vec![], kids: vec![], code });
    }
    fn visit_start_namespace(&mut self, name: &str, _: &dyn Block) { self.ns.push(name.into()) }
    fn visit_atom(&mut self, name: &str, a: &dyn Atom) {
        let name = self.ns.iter().map(|s| s.as_str()).chain([name]).collect::<Vec<_>>().join("$");
        let name = esc(&name);
        self.stack.last_mut().unwrap().atoms.push(At { name, id: a.id(), kind: a.kind(), w: a.bits(), clock: a.descriptor().name == "clock" });
    }
    fn visit_end_namespace(&mut self, _: &str, _: &dyn Block) { self.ns.pop(); }
    fn visit_end_scope(&mut self, _: &str, _: &dyn Block) {
        let m = self.stack.pop().unwrap();
        match self.stack.last_mut() { Some(p) => p.kids.push(m), None => self.done = Some(m) }
    }
}
#[derive(Default)]
struct Use { w: BTreeSet<usize>, vw: BTreeSet<usize>, r: BTreeSet<usize>, vr: BTreeSet<usize> }
impl Kernel {
    fn reads(&self, i: Id, u: &mut Use) {
        match &self.nodes[i].1 { Node::Lit(_) => {} Node::Sig(s) => { u.r.insert(*s); } Node::Var(v) => { u.vr.insert(*v); } Node::Not(a) | Node::Red(_, a) | Node::Slice(a, _) => self.reads(*a, u), Node::Bin(_, a, b) => { self.reads(*a, u); self.reads(*b, u) } Node::Cat(v) => v.iter().for_each(|a| self.reads(*a, u)) }
    }
    fn uses(&self, s: &Stmt, u: &mut Use) {
        match s {
            Stmt::Assign { sig, rhs, .. } => { u.w.insert(*sig); self.reads(*rhs, u) }
            Stmt::Set(v, r) => { u.vw.insert(*v); self.reads(*r, u) }
            Stmt::If(c, t, e) => { self.reads(*c, u); t.iter().chain(e).for_each(|s| self.uses(s, u)) }
            Stmt::Case(c, a) => { self.reads(*c, u); a.iter().flat_map(|a| &a.1).for_each(|s| self.uses(s, u)) }
        }
    }
}
type Cov = BTreeMap<usize, Vec<bool>>;
/// bits definitely assigned on every path (all = AND) / on some path (OR)
fn cover(b: &[Stmt], all: bool) -> Cov {
    let mut m = Cov::new();
    let merge = |m: &mut Cov, x: Cov| for (k, v) in x { let e = m.entry(k).or_insert(vec![false; v.len()]); for (a, b) in e.iter_mut().zip(v) { *a |= b } };
    for s in b {
        match s {
            Stmt::Assign { sig, part, sw, .. } => { let (lo, w) = part.unwrap_or((0, *sw)); merge(&mut m, [(*sig, (0..*sw).map(|i| i >= lo && i < lo + w).collect())].into()) }
            Stmt::Set(..) => {}
            Stmt::If(..) | Stmt::Case(..) => {
                let arms: Vec<Cov> = match s { Stmt::If(_, t, e) => vec![cover(t, all), cover(e, all)], Stmt::Case(_, a) => a.iter().map(|a| cover(&a.1, all)).collect(), _ => vec![] };
                let ids: BTreeSet<usize> = arms.iter().flat_map(|a| a.keys().copied()).collect();
                for i in ids {
                    let n = arms.iter().find_map(|a| a.get(&i)).unwrap().len();
                    let v = (0..n).map(|b| { let mut it = arms.iter().map(|a| a.get(&i).map_or(false, |v| v[b])); if all { it.all(|x| x) } else { it.any(|x| x) } }).collect();
                    merge(&mut m, [(i, v)].into());
                }
            }
        }
    }
    m
}
struct Gen<'a> { k: &'a Kernel, names: HashMap<usize, &'a At>, full: HashMap<usize, String>, clk: HashMap<usize, usize> }
fn rng(w: usize) -> String { if w == 1 { String::new() } else { format!("[{}:0] ", w - 1) } }
impl Gen<'_> {
    fn sig(&self, mut i: usize) -> String { while let Some(j) = self.clk.get(&i) { i = *j } self.full.get(&i).cloned().unwrap_or_else(|| panic!("{}: signal {i} is outside of this block", self.k.ty)) }
    // invariant: every operator has operands of exactly its own width; extension only by concatenation => no context widening
    fn ex(&self, i: Id) -> String {
        let (w, n) = &self.k.nodes[i];
        match n {
            Node::Lit(s) => format!("{w}'h{s}"),
            Node::Sig(s) => self.sig(*s),
            Node::Var(v) => self.k.vars[*v].0.clone(),
            Node::Not(a) => format!("(~{})", self.ex(*a)),
            Node::Red(o, a) => format!("({o}{})", self.ex(*a)),
            Node::Slice(a, lo) => if *w == 1 && self.k.nodes[*a].0 > 1 { format!("{}[{lo}]", self.ex(*a)) } else { format!("{}[{}:{lo}]", self.ex(*a), lo + w - 1) },
            Node::Cat(v) => format!("{{{}}}", v.iter().filter(|x| self.k.nodes[**x].0 > 0).map(|x| self.ex(*x)).collect::<Vec<_>>().join(", ")),
            Node::Bin(o, a, b) => format!("({} {} {})", self.ex(*a), match o { Op::Add => "+", Op::Sub => "-", Op::Mul => "*", Op::And => "&", Op::Or => "|", Op::Xor => "^", Op::Shl => "<<", Op::Shr => ">>", Op::Eq => "==", Op::Ne => "!=", Op::Lt => "<", Op::Le => "<=", Op::Gt => ">", Op::Ge => ">=" }, self.ex(*b)),
        }
    }
    fn st(&self, s: &Stmt, ind: usize, o: &mut String) {
        let p = "  ".repeat(ind);
        match s {
            Stmt::Assign { sig, part: None, rhs, .. } => writeln!(o, "{p}{} = {};", self.sig(*sig), self.ex(*rhs)).unwrap(),
            Stmt::Assign { sig, part: Some((lo, w)), rhs, .. } => writeln!(o, "{p}{}[{}:{lo}] = {};", self.sig(*sig), lo + w - 1, self.ex(*rhs)).unwrap(),
            Stmt::Set(v, r) => writeln!(o, "{p}{} = {};", self.k.vars[*v].0, self.ex(*r)).unwrap(),
            Stmt::If(c, t, e) => {
                writeln!(o, "{p}if ({}) begin", self.ex(*c)).unwrap();
                t.iter().for_each(|s| self.st(s, ind + 1, o));
                if !e.is_empty() { writeln!(o, "{p}end else begin").unwrap(); e.iter().for_each(|s| self.st(s, ind + 1, o)); }
                writeln!(o, "{p}end").unwrap()
            }
            Stmt::Case(c, arms) => {
                writeln!(o, "{p}case ({})", self.ex(*c)).unwrap();
                for (i, (pt, b)) in arms.iter().enumerate() {
                    let dfl = pt.is_empty() || i + 1 == arms.len(); // Rust checked exhaustiveness: the last arm takes the unused encodings
                    let l = if dfl { "default".into() } else { pt.iter().map(|x| self.ex(*x)).collect::<Vec<_>>().join(", ") };
                    writeln!(o, "{p}  {l}: begin").unwrap();
                    b.iter().for_each(|s| self.st(s, ind + 2, o));
                    writeln!(o, "{p}  end").unwrap();
                    if dfl { break }
                }
                writeln!(o, "{p}endcase").unwrap()
            }
        }
    }
}
#[derive(Default)]
pub struct Out { by_text: HashMap<String, String>, used: BTreeSet<String>, pub text: String, pub modules: usize, pub instances: usize }
fn short(ty: &str) -> String {
    let mut segs: Vec<String> = vec![]; let mut cur = String::new();
    for c in ty.chars().chain([' ']) { if c.is_alphanumeric() || c == '_' { cur.push(c) } else if c == ':' { cur.clear() } else if !cur.is_empty() { segs.push(std::mem::take(&mut cur)) } }
    segs.join("_")
}
impl Out {
    fn module(&mut self, m: &Mod, top: Option<&str>) -> String {
        self.instances += 1;
        let port = |a: &At| a.kind.is_parameter();
        let (text, base) = match &m.code {
            Code::Kernel(k) => (self.kernel(m, k), short(&k.ty)),
            Code::Raw(s) => (format!("({});\n{s}\nendmodule\n", m.atoms.iter().filter(|a| port(a)).map(|a| format!("{} {}{}", if a.kind == AtomKind::InputParameter { "input wire" } else { "output reg" }, rng(a.w), a.name)).collect::<Vec<_>>().join(", ")), "custom".into()),
            Code::Black(b) => { if self.used.insert(b.name.clone()) { self.text += &b.code } return b.name.clone() }
            _ => unreachable!("inlined"),
        };
        if let Some(n) = self.by_text.get(&text) { return n.clone() }
        let base = top.map_or(base, |s| s.to_string());
        let mut n = base.clone(); let mut i = 1;
        while !self.used.insert(n.clone()) { n = format!("{base}_{i}"); i += 1 }
        self.modules += 1;
        write!(self.text, "module {n}{text}\n").unwrap();
        self.by_text.insert(text, n.clone());
        n
    }
    fn kernel(&mut self, m: &Mod, k: &Kernel) -> String {
        let mut g = Gen { k, names: HashMap::new(), full: HashMap::new(), clk: HashMap::new() };
        for a in &m.atoms { g.names.insert(a.id, a); g.full.insert(a.id, a.name.clone()); }
        for c in &m.kids { for a in c.atoms.iter().filter(|a| a.kind.is_parameter()) { assert!(g.names.insert(a.id, a).is_none(), "duplicate signal id: block was cloned"); g.full.insert(a.id, format!("{}${}", c.inst, a.name)); } }
        // clocks are aliases, never assignments (no delta races, no clock in always @*)
        let mut body: Vec<&Stmt> = vec![];
        for s in &k.body {
            if let Stmt::Assign { sig, rhs, .. } = s { if g.names[sig].clock { let Node::Sig(src) = k.nodes[*rhs].1 else { panic!("gated clock") }; g.clk.insert(*sig, src); continue } }
            body.push(s);
        }
        // latch check
        let (all, some) = (cover(&k.body, true), cover(&k.body, false));
        for (i, v) in &some { if all.get(i) != Some(v) || v.iter().any(|b| !b) { panic!("{}: latch: {} is not assigned on every path", k.ty, g.sig(*i)) } }
        for a in g.names.values() {
            let kid = m.kids.iter().any(|c| c.atoms.iter().any(|x| x.id == a.id));
            let must = matches!((kid, a.kind), (false, AtomKind::OutputParameter | AtomKind::LocalSignal) | (true, AtomKind::InputParameter));
            if must != some.contains_key(&a.id) { panic!("{}: {} is {}", k.ty, g.full[&a.id], if must { "not driven" } else { "driven but not drivable" }) }
        }
        // processes: statements sharing a written signal / a multiply written variable go together, in order
        let us: Vec<Use> = body.iter().map(|s| { let mut u = Use::default(); k.uses(s, &mut u); u }).collect();
        let mut grp: Vec<usize> = (0..body.len()).collect();
        let join = |a: usize, b: usize, grp: &mut Vec<usize>| { let (x, y) = (grp[a], grp[b]); grp.iter_mut().for_each(|z| if *z == y { *z = x }) };
        let single = |v: usize| { let w: Vec<_> = (0..body.len()).filter(|i| us[*i].vw.contains(&v)).collect(); w.len() == 1 && matches!(body[w[0]], Stmt::Set(..)) };
        for a in 0..body.len() { for b in 0..body.len() { if a == b { continue }
            let multi = |s: &usize| { let w: Vec<_> = (0..body.len()).filter(|i| us[*i].w.contains(s)).collect(); w.first() < Some(&b) && Some(&b) < w.last() };
            if us[a].w.intersection(&us[b].w).next().is_some() || us[a].vw.iter().any(|v| (us[b].vw.contains(v) || us[b].vr.contains(v)) && !single(*v)) || us[a].w.iter().any(|s| us[b].r.contains(s) && multi(s)) { join(a, b, &mut grp) }
        } }
        let (mut regs, mut vregs, mut o) = (BTreeSet::<usize>::new(), BTreeSet::<usize>::new(), String::new());
        let mut seen = BTreeSet::new();
        for i in 0..body.len() {
            if !seen.insert(grp[i]) { continue }
            let mem: Vec<usize> = (0..body.len()).filter(|j| grp[*j] == grp[i]).collect();
            if mem.len() == 1 && matches!(body[i], Stmt::Assign { part: None, .. } | Stmt::Set(..)) { o += "  assign "; g.st(body[i], 0, &mut o); continue }
            o += "  always @* begin\n";
            for v in mem.iter().filter(|j| !matches!(body[**j], Stmt::Set(..))).flat_map(|j| &us[*j].vw).collect::<BTreeSet<_>>() { writeln!(o, "    {} = {}'h0;", k.vars[*v].0, k.vars[*v].1).unwrap() }
            for j in mem { regs.extend(&us[j].w); vregs.extend(&us[j].vw); g.st(body[j], 2, &mut o) }
            o += "  end\n";
        }
        let net = |i: &usize| if regs.contains(i) { "reg" } else { "wire" };
        let ports: Vec<_> = m.atoms.iter().filter(|a| a.kind.is_parameter()).map(|a| format!("\n  {} {}{}", match a.kind { AtomKind::InputParameter => "input wire".into(), AtomKind::OutputParameter => format!("output {}", net(&a.id)), _ => "inout wire".into() }, rng(a.w), a.name)).collect();
        let mut t = format!("({}\n);\n", ports.join(","));
        for a in m.atoms.iter().filter(|a| a.kind == AtomKind::LocalSignal) { writeln!(t, "  {} {}{};", net(&a.id), rng(a.w), a.name).unwrap() }
        for (i, (n, w)) in k.vars.iter().enumerate() { writeln!(t, "  {} {}{n};", if vregs.contains(&i) { "reg" } else { "wire" }, rng(*w)).unwrap() }
        for c in &m.kids {
            let at = |n: &str| c.atoms.iter().find(|a| a.name == n).unwrap();
            let nm = |n: &str| g.sig(at(n).id);
            for a in c.atoms.iter().filter(|a| a.kind.is_parameter() && !g.clk.contains_key(&a.id)) {
                match (&c.code, a.kind) {
                    (Code::Dff(i), AtomKind::OutputParameter) => writeln!(t, "  reg {}{} = {}'h{i};", rng(a.w), g.full[&a.id], a.w).unwrap(),
                    (Code::Ram, AtomKind::OutputParameter) => writeln!(t, "  reg {}{};", rng(a.w), g.full[&a.id]).unwrap(),
                    _ => writeln!(t, "  {} {}{};", net(&a.id), rng(a.w), g.full[&a.id]).unwrap(),
                }
            }
            match &c.code {
                Code::Dff(_) => writeln!(o, "  always @(posedge {}) {} <= {};", nm("clock"), nm("q"), nm("d")).unwrap(),
                Code::Ram => {
                    writeln!(t, "  reg {r}{i}$mem [0:{n}];\n  integer {i}$i;\n  initial for ({i}$i = 0; {i}$i <= {n}; {i}$i = {i}$i + 1) {i}$mem[{i}$i] = 0;", r = rng(at("read_data").w), i = c.inst, n = (1usize << at("read_address").w) - 1).unwrap();
                    writeln!(o, "  always @(posedge {}) {} <= {i}$mem[{}];\n  always @(posedge {}) if ({}) {i}$mem[{}] <= {};", nm("read_clock"), nm("read_data"), nm("read_address"), nm("write_clock"), nm("write_enable"), nm("write_address"), nm("write_data"), i = c.inst).unwrap()
                }
                _ => {
                    let n = self.module(c, None);
                    let p: Vec<_> = c.atoms.iter().filter(|a| a.kind.is_parameter()).map(|a| format!(".{}({})", a.name, g.sig(a.id))).collect();
                    writeln!(o, "  {n} {}({});", c.inst, p.join(", ")).unwrap()
                }
            }
        }
        format!("{t}{o}endmodule\n")
    }
}
pub fn verilog(b: &dyn Block, top: &str) -> (Out, Vec<At>) {
    let mut t = Tree::default();
    b.accept(top, &mut t);
    let m = t.done.unwrap();
    let mut o = Out::default();
    o.module(&m, Some(top));
    (o, m.atoms)
}
