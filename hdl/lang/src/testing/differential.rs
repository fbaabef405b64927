//! The same stimuli to the Rust simulation and to the Verilated Verilog.
use super::observe::observe;
use super::{Rng, Verilator, VerilatorError, low, step};
use crate::Synchronous;
use crate::emit::{self, Emitted, Port};
use rust_hdl_core::prelude::Block;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The seed of the stimuli where the environment does not give one.
const SEED: u64 = 0x4e17_71de;

/// Drives `cycles` random cycles into the Rust simulation of a block and into its Verilated Verilog, and compares every output in
/// every cycle, before the clock's edge.
///
/// `drive` sets inputs (`uut.x.next = rng.bits()`); it may read the block's outputs. `name` names the test's files and is unique
/// among the tests of a crate. `NITRIDE_SEED` in the environment repeats a failure.
///
/// # Panics
/// When an output differs (with the cycle, the port, both values and the seed), when the emitter refuses the block, and when
/// Verilator is not installed.
pub fn differential<B: Block + Synchronous>(
    name: &str,
    new: impl FnOnce() -> B,
    drive: impl FnMut(&mut B, &mut Rng),
    cycles: usize,
) {
    let uut = new();
    let emitted = emit::verilog(&uut, "uut").unwrap_or_else(|error| panic!("{error}"));
    compare(name, uut, &emitted, drive, cycles).unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// Why a block and a Verilog are not the same.
#[derive(Debug, thiserror::Error)]
pub enum Difference {
    /// Verilator refuses the Verilog, or is not there.
    #[error(transparent)]
    Refused(#[from] VerilatorError),
    /// An output differs.
    #[error("the Verilog differs from the Rust simulation {0}")]
    Output(String),
}

/// Compares a block with a Verilog as [`differential`] does, which compares it with its own.
///
/// # Errors
/// When Verilator refuses the Verilog, and when an output differs.
///
/// # Panics
/// When the files cannot be written.
pub fn compare<B: Block + Synchronous>(
    name: &str,
    mut uut: B,
    verilog: &Emitted,
    mut drive: impl FnMut(&mut B, &mut Rng),
    cycles: usize,
) -> Result<(), Difference> {
    let seed = std::env::var("NITRIDE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let start = std::env::current_dir().unwrap_or_default();
    let folder = scratch(name);
    let program = Verilator::find(&start)?.program(&verilog.text, "uut", &main(&verilog.ports), &folder)?;

    let mut rng = Rng::new(seed);
    let mut vectors = vec![];
    for _ in 0..cycles {
        drive(&mut uut, &mut rng);
        low(&mut uut);
        observe(&uut, &mut vectors);
        step(&mut uut);
    }
    let file = folder.join("vectors");
    fs::write(&file, vectors).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let output = Command::new(&program)
        .arg(&file)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    let expected = cycles * verilog.ports.iter().filter(|port| !port.clock && !port.input).count();
    if output.status.success() && text.trim() == format!("{expected} equal") {
        return Ok(());
    }
    Err(Difference::Output(format!(
        "(seed {seed}; NITRIDE_SEED={seed} repeats it; {})\n{text}{}",
        folder.join("uut.v").display(),
        output.status,
    )))
}

/// A folder under `target/` for the files of a test.
fn scratch(name: &str) -> PathBuf {
    let target = std::env::current_exe().ok();
    let target = target.as_deref().and_then(|exe| exe.ancestors().find(|a| a.join("CACHEDIR.TAG").exists()));
    let safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    target.map_or_else(std::env::temp_dir, PathBuf::from).join("differential").join(safe)
}

/// Reads vectors, drives the inputs in them, and compares the outputs.
fn main(ports: &[Port]) -> String {
    let mut drive = String::new();
    let mut compare = String::new();
    let (mut clock, mut offset) = (None, 0);
    for port in ports {
        let member = format!("dut.{}", port.name.replace('$', "__024"));
        if port.clock {
            clock = Some(member);
            continue;
        }
        let bytes = port.width.div_ceil(8);
        if port.input {
            let _ = writeln!(
                drive,
                "    std::memset(&{member}, 0, sizeof {member}); std::memcpy(&{member}, v + {offset}, {bytes});"
            );
        } else {
            let _ = writeln!(compare, "    same(\"{}\", &{member}, v + {offset}, {bytes});", port.name);
        }
        offset += bytes;
    }
    let (fall, rise) = match &clock {
        Some(clock) => (format!("{clock} = 0;"), format!("{clock} = 1; dut.eval();")),
        None => (String::new(), String::new()),
    };
    format!(
        r#"
#include <cstdio>
#include <cstring>
#include <vector>
double sc_time_stamp() {{ return 0; }}
static long cycle, equal, different;
static void same(const char *name, const void *got, const unsigned char *want, size_t bytes) {{
    if (!std::memcmp(got, want, bytes)) {{ equal++; return; }}
    if (different++ >= 5) return;
    std::printf("cycle %ld: %s is 0x", cycle, name);
    for (size_t i = bytes; i--;) std::printf("%02x", static_cast<const unsigned char *>(got)[i]);
    std::printf(" in Verilog, 0x");
    for (size_t i = bytes; i--;) std::printf("%02x", want[i]);
    std::printf(" in Rust\n");
}}
int main(int, char **argv) {{
    static model dut;
    std::FILE *file = std::fopen(argv[1], "rb");
    if (!file) return 2;
    std::vector<unsigned char> vector({offset});
    unsigned char *v = vector.data();
    for (; std::fread(v, {offset}, 1, file) == 1; cycle++) {{
{drive}    {fall} dut.eval();
{compare}    {rise}
    }}
    if (!different) std::printf("%ld equal\n", equal);
    return different != 0;
}}
"#
    )
}
