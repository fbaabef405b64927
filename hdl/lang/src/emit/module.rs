//! Modules in Verilog.
use super::checks::{self, Net, Nets, Summary};
use super::expressions::{Expressions, range};
use super::hierarchy::{Atom, Content, Module, short_type};
use super::{EmitError, Fault};
use crate::ast::{Body, Kernel, Literal, Op, SignalId};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::rc::Rc;

/// Words of a RAM that one `initial` block sets: yosys takes time in the square of a block's statements.
const INITIAL_WORDS: usize = 128;

/// Collects modules; those with the same text are one.
#[derive(Default)]
pub struct Writer {
    pub text: String,
    pub modules: usize,
    pub instances: usize,
    names: HashSet<String>,
    by_text: HashMap<Rc<str>, String>,
    black_boxes: HashSet<String>,
}

impl Writer {
    pub fn top(&mut self, root: &Module, name: &str) -> Result<(), EmitError> {
        self.names.insert(name.into());
        self.module(root, Some(name)).map(|_| ())
    }

    /// Writes a module unless it is there already; returns its name and what its outputs depend on.
    fn module(&mut self, module: &Module, top: Option<&str>) -> Result<(String, Summary), EmitError> {
        self.instances += 1;
        let kernel = match &module.content {
            Content::Body(Body::Kernel(kernel)) => kernel,
            Content::BlackBox(black_box) => {
                if self.black_boxes.insert(black_box.name.clone()) {
                    self.text += &black_box.code;
                    self.text.push('\n');
                }
                return Ok((black_box.name.clone(), checks::registered(module)));
            }
            Content::Body(_) => return Err(module.error(None, Fault::NoKernel)),
        };
        let nets = checks::nets(module)?;
        checks::drives(module, kernel, &nets)?;
        let mut instances = String::new();
        let mut summaries = vec![];
        let own = module.children.iter().map(|child| child.instance.as_str());
        let used = checks::used(module, kernel);
        let expressions = Expressions::new(kernel, &nets, used, clocks(kernel, &nets), own);
        for child in &module.children {
            if let Content::Body(Body::Register { .. } | Body::Ram { .. }) = child.content {
                summaries.push(checks::registered(child));
                continue;
            }
            let (name, summary) = self.module(child, None)?;
            // An output that this parent does not read stays open.
            let net = |port: &Atom| {
                if expressions.used.contains(&port.id) { expressions.signal(port.id) } else { "" }
            };
            let ports: Vec<_> = child.ports().map(|port| format!(".{}({})", port.name, net(port))).collect();
            let _ = writeln!(instances, "  {name} {} (\n    {}\n  );", child.instance, ports.join(",\n    "));
            summaries.push(summary);
        }
        let summary = checks::summary(module, kernel, &nets, &summaries)?;
        let text: Rc<str> = format!("{}{instances}endmodule\n", body(module, kernel, &expressions)).into();
        if let Some(name) = self.by_text.get(&text) {
            return Ok((name.clone(), summary));
        }
        let name = top.map_or_else(|| self.free_name(&kernel.type_name), String::from);
        self.modules += 1;
        let _ = writeln!(
            self.text,
            "// {}\n// {}\nmodule {name} {text}",
            short_type(&kernel.type_name),
            kernel.location
        );
        self.by_text.insert(text, name.clone());
        Ok((name, summary))
    }

    fn free_name(&mut self, type_name: &str) -> String {
        let short = short_type(type_name);
        let words: Vec<_> =
            short.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        let base = words.join("_");
        let candidates = std::iter::once(base.clone()).chain((2..).map(|i| format!("{base}_{i}")));
        let name = candidates
            .filter(|name| !super::keywords::is_keyword(name))
            .find(|name| !self.names.contains(name))
            .unwrap_or_default();
        self.names.insert(name.clone());
        name
    }
}

/// A child's clock is the net that it is connected to, never a copy: a copy would come a delta cycle late.
fn clocks(kernel: &Kernel, nets: &Nets) -> HashMap<SignalId, SignalId> {
    let clocks = kernel.drives.iter().filter(|(signal, _)| nets[signal].clock);
    clocks
        .filter_map(|(signal, drive)| match kernel.nodes[drive.value].op {
            Op::Signal(source) => Some((*signal, source)),
            _ => None,
        })
        .collect()
}

/// Everything of a module between its name and its instances.
fn body(module: &Module, kernel: &Kernel, expressions: &Expressions) -> String {
    let nets = expressions.nets;
    let decided = |id: &SignalId| {
        kernel
            .drives
            .get(id)
            .is_some_and(|d| !expressions.named.contains_key(&d.value) && expressions.decides(d.value))
    };
    let kind = |id: &SignalId| if decided(id) { "reg" } else { "wire" };
    let ports: Vec<_> = module
        .ports()
        .map(|port| {
            let direction =
                if port.input() { "input wire".into() } else { format!("output {}", kind(&port.id)) };
            format!("  {direction} {}{}", range(port.width), port.name)
        })
        .collect();
    let mut text = format!("(\n{}\n);\n", ports.join(",\n"));
    let declared =
        |atom: &&Atom| !expressions.clocks.contains_key(&atom.id) && expressions.used.contains(&atom.id);
    for atom in module.atoms.iter().filter(|atom| !atom.port()).filter(declared) {
        let _ = writeln!(text, "  {} {}{};", kind(&atom.id), range(atom.width), atom.name);
    }
    let mut state = String::new();
    for child in &module.children {
        let stateful = matches!(child.content, Content::Body(Body::Register { .. } | Body::Ram { .. }));
        for port in child.ports().filter(declared) {
            if !stateful || port.input() {
                let _ = writeln!(text, "  {} {}{};", kind(&port.id), range(port.width), nets[&port.id].name);
            }
        }
        match &child.content {
            Content::Body(Body::Register { initial }) => {
                register(child, expressions, initial, &mut text, &mut state);
            }
            Content::Body(Body::Ram { contents }) => ram(child, expressions, contents, &mut text, &mut state),
            _ => {}
        }
    }
    let mut named: Vec<_> = expressions.named.iter().collect();
    named.sort();
    for (id, name) in named {
        let width = range(kernel.nodes[*id].width);
        if expressions.decides(*id) {
            let _ = writeln!(text, "  reg {width}{name};\n  always @* begin");
            expressions.decide(name, *id, true, 2, &mut text);
            text += "  end\n";
        } else {
            let _ = writeln!(text, "  wire {width}{name} = {};", expressions.expression(*id));
        }
    }
    for (signal, drive) in expressions.drives() {
        let Net { name, clock, .. } = &nets[signal];
        if *clock {
            continue;
        }
        let lines: Vec<_> = drive.locations.iter().map(|l| l.line.to_string()).collect();
        let comment = if lines.is_empty() { String::new() } else { format!(" // {}", lines.join(", ")) };
        if decided(signal) {
            let _ = writeln!(text, "  always @* begin{comment}");
            expressions.decide(name, drive.value, true, 2, &mut text);
            text += "  end\n";
        } else {
            let _ = writeln!(text, "  assign {name} = {};{comment}", expressions.operand(drive.value));
        }
    }
    text + &state
}

/// The net of a child's port.
fn port<'a>(child: &Module, expressions: &'a Expressions, name: &str) -> &'a str {
    let port = child.ports().find(|port| port.name == name).expect("the port of a primitive");
    expressions.signal(port.id)
}

fn register(
    child: &Module,
    expressions: &Expressions,
    initial: &Literal,
    text: &mut String,
    state: &mut String,
) {
    let [clock, d, q] = ["clock", "d", "q"].map(|name| port(child, expressions, name));
    let width = initial.width();
    let _ = writeln!(text, "  reg {}{q};\n  initial {q} = {width}'h{};", range(width), initial.hex());
    let _ = writeln!(state, "  always @(posedge {clock}) {q} <= {d};");
}

fn ram(
    child: &Module,
    expressions: &Expressions,
    contents: &[Literal],
    text: &mut String,
    state: &mut String,
) {
    let names = ["clock", "read_address", "read_data", "write_address", "write_data", "write_enable"];
    let [clock, read_address, read_data, write_address, write_data, write_enable] =
        names.map(|name| port(child, expressions, name));
    let width_of = |name: &str| child.ports().find(|p| p.name == name).map_or(0, |p| p.width);
    let (width, last, name) =
        (width_of("read_data"), (1usize << width_of("read_address")) - 1, &child.instance);
    let _ = writeln!(
        text,
        "  reg {r}{name}$words [0:{last}];\n  reg {r}{read_data};\n  initial {read_data} = {width}'h0;\n  integer {name}$i;",
        r = range(width)
    );
    for first in (0..=last).step_by(INITIAL_WORDS) {
        let end = last.min(first + INITIAL_WORDS - 1);
        let _ = writeln!(
            text,
            "  initial begin\n    for ({name}$i = {first}; {name}$i <= {end}; {name}$i = {name}$i + 1) {name}$words[{name}$i] = {width}'h0;"
        );
        let given = contents.iter().enumerate().skip(first).take(INITIAL_WORDS);
        for (i, word) in given.filter(|(_, word)| !word.is_zero()) {
            let _ = writeln!(text, "    {name}$words[{i}] = {width}'h{};", word.hex());
        }
        let _ = writeln!(text, "  end");
    }
    let _ = writeln!(
        state,
        "  always @(posedge {clock}) begin\n    {read_data} <= {name}$words[{read_address}];\n    if ({write_enable}) {name}$words[{write_address}] <= {write_data};\n  end"
    );
}
