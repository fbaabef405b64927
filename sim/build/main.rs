//! Emits the card's Verilog, Verilates it, and compiles the model for [`nitride_sim::Card`].
//!
//! The compiled model is kept in `target/verilated/`, by a hash of everything that it depends on, so that all
//! build profiles share it and nothing is done twice. With `NITRIDE_CARD_VERILOG=file.v`, that file's module
//! `card` takes the emitted one's place (a synthesised netlist, say).

mod model;
mod ports;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed=NITRIDE_CARD_VERILOG");
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Cargo shows one line as the error; a tool's own words follow in the build's output.
            let (line, details) = error.split_once('\n').unwrap_or((&error, ""));
            println!("cargo::error={line}");
            eprintln!("{details}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let verilog = match env::var_os("NITRIDE_CARD_VERILOG").map(PathBuf::from) {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            std::fs::read_to_string(&path)
                .map_err(|error| format!("NITRIDE_CARD_VERILOG={}: {error}", path.display()))?
        }
        None => emit()?,
    };
    let model = model::Model::build(&verilog, env::var_os("CARGO_FEATURE_TRACE").is_some())?;
    let header =
        std::fs::read_to_string(model.folder.join("Vcard.h")).map_err(|error| format!("Vcard.h: {error}"))?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let table = ports::rust(&ports::parse(&header))?;
    std::fs::write(out.join("ports.rs"), table).map_err(|error| format!("ports.rs: {error}"))?;
    model.link();
    Ok(())
}

fn emit() -> Result<String, String> {
    nitride_hdl::verilog(&nitride_hdl::Profile::LAB)
        .map(|emitted| emitted.text)
        .map_err(|error| error.to_string())
}
