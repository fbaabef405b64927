//! What a module must satisfy, and what its outputs depend on.
use super::hierarchy::{Content, Module};
use super::{EmitError, Fault};
use crate::ast::{Body, Drive, Id, Kernel, Op, SignalId};
use std::collections::{BTreeSet, HashMap, HashSet};

/// A signal that a module's kernel can name.
#[derive(Clone, Debug)]
pub struct Net {
    /// In the Verilog: a sub-block's port has its instance in front.
    pub name: String,
    pub width: usize,
    pub clock: bool,
    /// Something outside of the kernel drives it.
    pub given: bool,
}

/// The nets of a module.
pub type Nets = HashMap<SignalId, Net>;

/// For each output port, by its position among the ports, the input ports that it depends on without a register between.
pub type Summary = Vec<BTreeSet<usize>>;

/// The module's own signals and its children's ports.
pub fn nets(module: &Module) -> Result<Nets, EmitError> {
    let mut nets = Nets::new();
    let own = module.atoms.iter().map(|atom| (atom.name.clone(), atom, atom.input()));
    let ports = module.children.iter().flat_map(|child| {
        child.ports().map(|atom| (format!("{}${}", child.instance, atom.name), atom, !atom.input()))
    });
    for (name, atom, given) in own.chain(ports) {
        let net = Net { name: name.clone(), width: atom.width, clock: atom.clock, given };
        if nets.insert(atom.id, net).is_some() {
            return Err(module.error(None, Fault::Copied(name)));
        }
    }
    Ok(nets)
}

/// Every net is driven, once, always, and by what the module can see.
pub fn drives(module: &Module, kernel: &Kernel, nets: &Nets) -> Result<(), EmitError> {
    for (signal, drive) in &kernel.drives {
        let place = drive.locations.first().copied();
        let Some(net) = nets.get(signal) else { return Err(module.error(place, Fault::UndeclaredWrite)) };
        let name = || net.name.clone();
        if net.given {
            let by = if module.ports().any(|p| p.id == *signal) {
                "it is an input of the block"
            } else {
                "a sub-block drives it"
            };
            return Err(module.error(place, Fault::MultiplyDriven(name(), by)));
        }
        let found = kernel.nodes[drive.value].width;
        if found != net.width {
            return Err(module.error(place, Fault::Width { signal: name(), expected: net.width, found }));
        }
        if net.clock
            && !matches!(&kernel.nodes[drive.value].op, Op::Signal(source) if nets.get(source).is_some_and(|n| n.clock))
        {
            return Err(module.error(place, Fault::GatedClock(name())));
        }
        if let Some(stranger) = reads(kernel, drive).iter().find(|read| !nets.contains_key(read)) {
            return Err(module.error(
                place,
                Fault::UndeclaredRead(format!("used for `{}` (signal {stranger})", net.name)),
            ));
        }
        if keeps(kernel, drive.value, *signal) {
            let partly = matches!(kernel.nodes[drive.value].op, Op::Concat(_));
            let fault = if partly { Fault::PartlyUndriven(name()) } else { Fault::Latch(name()) };
            return Err(module.error(place, fault));
        }
    }
    let mut undriven: Vec<_> =
        nets.iter().filter(|(id, net)| !net.given && !kernel.drives.contains_key(id)).collect();
    undriven.sort_by_key(|(id, _)| **id);
    match undriven.first() {
        Some((_, net)) => Err(module.error(None, Fault::Undriven(net.name.clone()))),
        None => Ok(()),
    }
}

/// The signal's own old value can reach it unchanged.
fn keeps(kernel: &Kernel, value: Id, signal: SignalId) -> bool {
    let (mut seen, mut stack) = (HashSet::new(), vec![value]);
    while let Some(id) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        match &kernel.nodes[id].op {
            Op::Signal(read) if *read == signal => return true,
            Op::Slice(a, _) => stack.push(*a),
            Op::Concat(parts) => stack.extend(parts),
            Op::Mux(_, a, b) => stack.extend([*a, *b]),
            Op::Case(_, arms, default) => {
                stack.extend(arms.iter().map(|(_, result)| *result).chain([*default]));
            }
            _ => {}
        }
    }
    false
}

/// The signals that a drive depends on.
fn reads(kernel: &Kernel, drive: &Drive) -> BTreeSet<SignalId> {
    let (mut reads, mut seen, mut stack) = (BTreeSet::new(), HashSet::new(), vec![drive.value]);
    while let Some(id) = stack.pop() {
        if seen.insert(id) {
            if let Op::Signal(signal) = kernel.nodes[id].op {
                reads.insert(signal);
            }
            kernel.nodes[id].op.operands(|operand| stack.push(operand));
        }
    }
    reads
}

/// What the drive of each signal depends on.
fn graph(kernel: &Kernel) -> HashMap<SignalId, BTreeSet<SignalId>> {
    kernel.drives.iter().map(|(signal, drive)| (*signal, reads(kernel, drive))).collect()
}

/// The signals that an output of the module or an input of a sub-block comes from, and those themselves: nothing reads the others.
pub fn used(module: &Module, kernel: &Kernel) -> HashSet<SignalId> {
    let outputs = module.ports().filter(|port| !port.input());
    let inputs = module.children.iter().flat_map(Module::ports).filter(|port| port.input());
    reached(&graph(kernel), outputs.chain(inputs).map(|port| port.id).collect())
}

/// No signal depends on itself, here or through sub-blocks.
pub fn summary(
    module: &Module,
    kernel: &Kernel,
    nets: &Nets,
    children: &[Summary],
) -> Result<Summary, EmitError> {
    let mut graph = graph(kernel);
    for (child, summary) in module.children.iter().zip(children) {
        let ports: Vec<_> = child.ports().collect();
        for (output, inputs) in ports.iter().zip(summary) {
            if !output.input() {
                graph.insert(output.id, inputs.iter().map(|input| ports[*input].id).collect());
            }
        }
    }
    if let Some(cycle) = cycle(&graph) {
        let place = cycle.iter().find_map(|id| kernel.drives.get(id)?.locations.first().copied());
        return Err(module.error(place, Fault::Loop(cycle.iter().map(|id| nets[id].name.clone()).collect())));
    }
    let ports: Vec<_> = module.ports().collect();
    Ok(ports
        .iter()
        .map(|port| {
            if port.input() {
                return BTreeSet::new();
            }
            let reached = reached(&graph, vec![port.id]);
            (0..ports.len()).filter(|i| ports[*i].input() && reached.contains(&ports[*i].id)).collect()
        })
        .collect())
}

/// What a module without a kernel promises: its outputs come from registers.
pub fn registered(module: &Module) -> Summary {
    debug_assert!(matches!(
        module.content,
        Content::BlackBox(_) | Content::Body(Body::Register { .. } | Body::Ram { .. })
    ));
    module.ports().map(|_| BTreeSet::new()).collect()
}

fn reached(graph: &HashMap<SignalId, BTreeSet<SignalId>>, from: Vec<SignalId>) -> HashSet<SignalId> {
    let (mut seen, mut stack) = (HashSet::new(), from);
    while let Some(signal) = stack.pop() {
        if seen.insert(signal) {
            stack.extend(graph.get(&signal).into_iter().flatten());
        }
    }
    seen
}

/// A cycle, its first signal again at the end, each one driving the next.
fn cycle(graph: &HashMap<SignalId, BTreeSet<SignalId>>) -> Option<Vec<SignalId>> {
    let mut done = HashSet::new();
    let mut starts: Vec<_> = graph.keys().copied().collect();
    starts.sort_unstable();
    for start in starts {
        // The path from `start`, each with the reads that are left to follow.
        let mut path: Vec<(SignalId, Vec<SignalId>)> = vec![];
        let mut on_path = HashSet::new();
        let mut next = Some(start);
        loop {
            if let Some(signal) = next.take() {
                if on_path.contains(&signal) {
                    let from = path.iter().position(|(s, _)| *s == signal).unwrap_or_default();
                    let mut cycle: Vec<_> = path[from..].iter().map(|(s, _)| *s).chain([signal]).collect();
                    cycle.reverse();
                    return Some(cycle);
                }
                if done.insert(signal) {
                    on_path.insert(signal);
                    path.push((signal, graph.get(&signal).into_iter().flatten().copied().collect()));
                }
            }
            let Some((signal, left)) = path.last_mut() else { break };
            next = left.pop();
            if next.is_none() {
                on_path.remove(signal);
                path.pop();
            }
        }
    }
    None
}
