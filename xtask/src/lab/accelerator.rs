//! What executes the lab's instructions, and how that is decided.

use std::fs;
use std::path::PathBuf;

use crate::sh;

/// What executes the lab's instructions.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accelerator {
    /// QEMU's translator, with nested SVM: works everywhere.
    Tcg,
    /// This machine's KVM, where it can run a Linux that runs guests in turn.
    Kvm,
}

/// The one for this machine, and why: KVM only where a measurement shows that it runs a guest at speed and where it is
/// allowed to nest.
pub fn choose() -> (Accelerator, String) {
    let nests = ["kvm_intel", "kvm_amd"].iter().any(|module| {
        let parameter = fs::read_to_string(format!("/sys/module/{module}/parameters/nested"));
        parameter.is_ok_and(|value| matches!(value.trim(), "Y" | "1"))
    });
    if !nests {
        return (Accelerator::Tcg, "this machine's KVM does not nest".to_owned());
    }
    let folders = ["x86_64-unknown-linux-gnu/release", "release", "debug"];
    let mut programs = folders.map(|folder| sh::target().join(folder).join("nitride")).into_iter();
    let Some(nitride): Option<PathBuf> = programs.find(|program| program.exists()) else {
        return (Accelerator::Tcg, "`nitride`, which measures this machine's KVM, is not built".to_owned());
    };
    if sh::succeeds(sh::command(nitride).arg("probe")) {
        (Accelerator::Kvm, "this machine's KVM runs guests at speed, and nests".to_owned())
    } else {
        (Accelerator::Tcg, "this machine's KVM does not run a guest at speed".to_owned())
    }
}
