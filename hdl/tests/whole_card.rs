//! The Verilog of the whole card, before two independent judges: Verilator's linter and Yosys.
use nitride_hdl::Profile;
use nitride_lang::testing::{Verilator, Yosys, YosysError};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of this test's own, with `verilog` in `card.v`.
fn folder(test: &str, verilog: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).expect("a folder for the test");
    fs::write(folder.join("card.v"), verilog).expect("the card's Verilog");
    folder
}

/// The card's Verilog. The card is one value, too large for the stack of a test's thread.
fn card() -> String {
    let emit = || nitride_hdl::verilog(&Profile::LAB).unwrap_or_else(|error| panic!("{error}")).text;
    let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(emit).expect("a thread");
    thread.join().expect("the card's Verilog")
}

/// Why a finding of the linter is in order; nothing if it is not.
fn allowed(finding: &str) -> Option<&'static str> {
    if finding.starts_with("%Warning-DECLFILENAME: ") {
        return Some("a design is one file of many modules");
    }
    if finding.starts_with("%Warning-PINCONNECTEMPTY: ") {
        return Some("blocks are shared, and not every parent needs all that they tell");
    }
    let signal = finding.strip_prefix("%Warning-UNUSEDSIGNAL: ")?;
    if signal.contains("Bits of signal are not used: ") {
        return Some("a packed struct or a sum is one vector, and a block need not read all of it");
    }
    let is = |names: &[&str]| names.iter().any(|name| signal.ends_with(&format!("'{name}'")));
    let end_of_dma = signal.contains("'done$") && signal.ends_with("$ready'");
    if end_of_dma || is(&["message$ready", "frame$ready", "freed$ready", "receive$ready"]) {
        return Some(
            "whoever takes the end of a DMA request, an error message, a copy of a frame or a free cell is always ready",
        );
    }
    if is(&["write_done$data", "drained$data"]) {
        return Some("ends of writes and drained queues come in order, so that only their number counts");
    }
    is(&["free_cell$valid"]).then_some("cells are counted before one is taken")
}

/// What `verilator --lint-only -Wall` has against a design, beyond what is [`allowed`].
fn lint(folder: &Path) -> Vec<String> {
    let verilator =
        Verilator::find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|error| panic!("{error}"));
    let mut command = verilator.command();
    command.args(["--lint-only", "-Wall", "-Wno-fatal", "--top-module", "card", "card.v"]);
    let output = command.current_dir(folder).output().expect("a Verilator that runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let findings: Vec<_> = text.lines().filter(|line| line.starts_with('%')).map(String::from).collect();
    assert!(output.status.success() || !findings.is_empty(), "Verilator failed: {text}");
    findings.into_iter().filter(|finding| allowed(finding).is_none()).collect()
}

/// Elaborates a design: every module there, every process combinational or clocked, every net driven once. Returns the warnings.
fn elaborate(folder: &Path) -> Result<Vec<String>, YosysError> {
    let yosys = Yosys::find(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    let script = "read_verilog card.v; hierarchy -check -top card; proc; \
                  select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr; check -assert";
    yosys.run(script, folder)
}

#[test]
fn verilator_has_nothing_against_the_card() {
    let findings = lint(&folder("lint", &card()));
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn yosys_elaborates_the_card_without_a_latch_an_undriven_net_or_a_warning() {
    let warnings = elaborate(&folder("elaborate", &card())).unwrap_or_else(|error| panic!("{error}"));
    assert!(warnings.is_empty(), "{}", warnings.join("\n"));
}

/// The judges themselves: each design has one fault that the emitter should have refused.
#[test]
fn a_latch_an_undriven_net_and_a_width_mismatch_are_found() {
    let latch =
        "module card(input wire e, input wire d, output reg q);\n  always @* if (e) q = d;\nendmodule\n";
    let undriven = "module card(input wire d, output wire q);\n  wire n;\n  assign q = d ^ n;\nendmodule\n";
    let width = "module card(input wire [3:0] d, output wire [1:0] q);\n  assign q = d;\nendmodule\n";
    for (name, design, kind) in
        [("latch", latch, "LATCH"), ("undriven", undriven, "UNDRIVEN"), ("width", width, "WIDTHTRUNC")]
    {
        let findings = lint(&folder(name, design));
        assert!(findings.iter().any(|f| f.starts_with(&format!("%Warning-{kind}:"))), "{name}: {findings:?}");
    }
    for (name, design) in [("latch", latch), ("undriven", undriven)] {
        let result = elaborate(&folder(name, design));
        assert!(matches!(&result, Err(YosysError::Failed(_))), "{name}: {result:?}");
    }
}
