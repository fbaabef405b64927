//! The tree of blocks, as rust-hdl's probe shows it.
use super::{EmitError, Fault, keywords::is_keyword};
use crate::ast::{Body, Location, SignalId};
use rust_hdl_core::prelude::*;

/// A signal of a block.
#[derive(Clone, Debug)]
pub struct Atom {
    /// Interfaces and the signal, joined by `$`.
    pub name: String,
    pub id: SignalId,
    pub kind: AtomKind,
    pub width: usize,
    pub clock: bool,
}

impl Atom {
    pub fn input(&self) -> bool {
        self.kind == AtomKind::InputParameter
    }
    pub fn port(&self) -> bool {
        self.kind.is_parameter()
    }
}

/// A block and its place in the design.
#[derive(Debug)]
pub struct Module {
    /// Instance names from the top.
    pub path: String,
    pub instance: String,
    pub atoms: Vec<Atom>,
    pub children: Vec<Module>,
    pub content: Content,
}

/// What a block is made of.
#[derive(Debug)]
pub enum Content {
    Body(Body),
    BlackBox(BlackBox),
}

impl Module {
    pub fn of(block: &dyn Block, top: &str) -> Result<Self, EmitError> {
        let mut tree = Tree::default();
        block.accept(top, &mut tree);
        match (tree.error, tree.done) {
            (Some(error), _) => Err(error),
            (None, Some(root)) => Ok(root),
            // rust-hdl's probe shows an array of blocks as nothing but its elements.
            (None, None) => {
                Err(EmitError { module: top.into(), location: Location::default(), fault: Fault::NoKernel })
            }
        }
    }
    pub fn ports(&self) -> impl Iterator<Item = &Atom> {
        self.atoms.iter().filter(|atom| atom.port())
    }
    /// The instance and its type.
    pub fn title(&self) -> String {
        match &self.content {
            Content::Body(Body::Kernel(kernel)) => {
                format!("{} [{}]", self.path, short_type(&kernel.type_name))
            }
            _ => self.path.clone(),
        }
    }
    pub fn error(&self, location: Option<Location>, fault: Fault) -> EmitError {
        let kernel = match &self.content {
            Content::Body(Body::Kernel(kernel)) => kernel.location,
            _ => Location::default(),
        };
        EmitError { module: self.title(), location: location.unwrap_or(kernel), fault }
    }
}

/// A type's name without the paths of modules.
pub fn short_type(name: &str) -> String {
    let parts = name.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_');
    parts.filter(|part| !part.ends_with(':')).collect()
}

#[derive(Default)]
struct Tree {
    stack: Vec<Module>,
    interfaces: Vec<String>,
    done: Option<Module>,
    error: Option<EmitError>,
}

impl Tree {
    fn fail(&mut self, fault: Fault) {
        if let (None, Some(module)) = (&self.error, self.stack.last()) {
            self.error = Some(module.error(None, fault));
        }
    }
    fn check_name(&mut self, name: &str) {
        if is_keyword(name) {
            self.fail(Fault::Keyword(name.into()));
        } else if name.contains('#') || !name.is_ascii() {
            self.fail(Fault::Name(name.into()));
        }
    }
}

impl Probe for Tree {
    fn visit_start_scope(&mut self, name: &str, block: &dyn Block) {
        self.check_name(name);
        Body::taken();
        let description = block.hdl();
        let content = match (Body::taken(), description) {
            (Some(body), _) => Some(Content::Body(body)),
            (None, Verilog::Blackbox(black_box)) => Some(Content::BlackBox(black_box)),
            (None, _) => None,
        };
        let path = self.stack.last().map_or(name.into(), |parent| format!("{}.{name}", parent.path));
        let missing = content.is_none();
        let content = content
            .unwrap_or_else(|| Content::BlackBox(BlackBox { code: String::new(), name: String::new() }));
        self.stack.push(Module { path, instance: name.into(), atoms: vec![], children: vec![], content });
        if missing {
            self.fail(Fault::NoKernel);
        }
    }
    fn visit_start_namespace(&mut self, name: &str, _: &dyn Block) {
        self.interfaces.push(name.into());
    }
    fn visit_atom(&mut self, name: &str, atom: &dyn rust_hdl_core::prelude::Atom) {
        let name = self.interfaces.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("$");
        match atom.kind() {
            AtomKind::Constant => return,
            AtomKind::InputParameter | AtomKind::OutputParameter | AtomKind::LocalSignal => {}
            _ => self.fail(Fault::Bidirectional(name.clone())),
        }
        self.check_name(&name);
        let clock = atom.descriptor().name == "clock";
        let atom = Atom { name, id: atom.id(), kind: atom.kind(), width: atom.bits(), clock };
        if let Some(module) = self.stack.last_mut() {
            module.atoms.push(atom);
        }
    }
    fn visit_end_namespace(&mut self, _: &str, _: &dyn Block) {
        self.interfaces.pop();
    }
    fn visit_end_scope(&mut self, _: &str, _: &dyn Block) {
        let Some(module) = self.stack.pop() else { return };
        match self.stack.last_mut() {
            Some(parent) => parent.children.push(module),
            None => self.done = Some(module),
        }
    }
}
