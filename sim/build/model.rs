//! Verilator and the C++ compiler.

use std::env;
use std::fmt::Write;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ports;

/// Speed over all: nobody reads an undefined value of a register that has a reset value.
const VERILATE: &[&str] = &[
    "--cc",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "--no-timing",
    "--output-split",
    "20000",
    "--output-split-cfuncs",
    "2000",
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
    "--top-module",
    "card",
    "--prefix",
    "Vcard",
];
/// Not for this machine alone (`-march=native`): the programs also run where it has less.
const COMPILE: &[&str] = &["-O3", "-std=c++17", "-w", "-fno-plt"];
const RUNTIME: &[&str] = &["verilated.cpp", "verilated_threads.cpp"];
const RUNTIME_TRACE: &str = "verilated_vcd_c.cpp";

/// A compiled model.
pub struct Model {
    /// Holds `libcard.a` and `Vcard.h`.
    pub folder: PathBuf,
}

impl Model {
    /// Compiles module `card` of `verilog`, unless it has been done before.
    pub fn build(verilog: &str, trace: bool) -> Result<Self, String> {
        let verilator = Verilator::find()?;
        let mut hash = DefaultHasher::new();
        (verilog, trace, VERILATE, COMPILE, env::var("TARGET").ok(), &verilator.root).hash(&mut hash);
        (include_str!("model.rs"), include_str!("ports.rs")).hash(&mut hash);
        let cache = cache_folder()?;
        let folder = cache.join(format!("{:016x}", hash.finish()));
        if folder.join("libcard.a").exists() {
            return Ok(Self { folder });
        }
        // Whoever builds the same at the same time has a folder of its own; the first to finish gives the name.
        let work = cache.join(format!("{:016x}.{}", hash.finish(), std::process::id()));
        let result = verilator.compile(verilog, trace, &work);
        if result.is_ok() && fs::rename(&work, &folder).is_ok() {
            return Ok(Self { folder });
        }
        let _ = fs::remove_dir_all(&work);
        result.map(|()| Self { folder })
    }

    /// Tells cargo to link it.
    pub fn link(&self) {
        println!("cargo::rustc-link-search=native={}", self.folder.display());
        println!("cargo::rustc-link-lib=static=card");
        let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
        if !features.split(',').any(|feature| feature == "crt-static") {
            println!("cargo::rustc-link-lib=dylib=stdc++");
            return;
        }
        let path = Command::new("c++").arg("-print-file-name=libstdc++.a").output();
        if let Some(folder) = path.ok().and_then(|output| {
            let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
            path.parent().map(Path::to_path_buf)
        }) {
            println!("cargo::rustc-link-search=native={}", folder.display());
        }
        println!("cargo::rustc-link-lib=static=stdc++");
    }
}

/// `verilated` in cargo's target folder, whichever profile or target is being built.
fn cache_folder() -> Result<PathBuf, String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let target = out.ancestors().filter(|folder| folder.join("CACHEDIR.TAG").exists()).last().unwrap_or(&out);
    let cache = target.join("verilated");
    fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    Ok(cache)
}

/// An installed Verilator.
struct Verilator {
    program: PathBuf,
    root: PathBuf,
}

impl Verilator {
    /// The one in `.venv` at the root of the checkout, else the one on `PATH`.
    fn find() -> Result<Self, String> {
        let missing = || "Verilator is not installed: run `cargo xtask setup`".to_string();
        let start = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or_else(missing)?);
        let in_venv = |folder: &Path| {
            let versions = fs::read_dir(folder.join(".venv/lib")).ok()?;
            let roots = versions.flatten().map(|version| version.path().join("site-packages/verilator"));
            roots.filter(|root| root.join("bin/verilator_bin").exists()).last()
        };
        if let Some(root) = start.ancestors().find_map(in_venv) {
            return Ok(Self { program: root.join("bin/verilator"), root });
        }
        let output =
            Command::new("verilator").args(["--getenv", "VERILATOR_ROOT"]).output().map_err(|_| missing())?;
        let root = String::from_utf8_lossy(&output.stdout).trim().to_string();
        if root.is_empty() {
            Err(missing())
        } else {
            Ok(Self { program: "verilator".into(), root: root.into() })
        }
    }

    fn compile(&self, verilog: &str, trace: bool, folder: &Path) -> Result<(), String> {
        let failed = |what: &Path, error: std::io::Error| format!("{}: {error}", what.display());
        fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let source = folder.join("card.v");
        fs::write(&source, verilog).map_err(|error| failed(&source, error))?;
        let mut verilate = Command::new(&self.program);
        verilate.env("VERILATOR_ROOT", &self.root).args(VERILATE).args(trace.then_some("--trace-vcd"));
        let output = verilate.arg("--Mdir").arg(folder).arg(&source).output();
        let output = output.map_err(|error| failed(&self.program, error))?;
        if !output.status.success() {
            return Err(format!("Verilator refused the card:\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        let header = folder.join("Vcard.h");
        let header = fs::read_to_string(&header).map_err(|error| failed(&header, error))?;
        let shim = folder.join("shim.cpp");
        fs::write(&shim, self::shim(&ports::parse(&header), trace)).map_err(|error| failed(&shim, error))?;

        let mut files: Vec<_> = fs::read_dir(folder)
            .map_err(|error| failed(folder, error))?
            .flatten()
            .map(|e| e.path())
            .collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "cpp"));
        files.sort();
        let include = self.root.join("include");
        let mut build = cc::Build::new();
        build.cpp(true).cargo_metadata(false).warnings(false).debug(false).opt_level(3).cpp_link_stdlib(None);
        build.include(&include).include(include.join("vltstd")).include(folder).files(files);
        build.files(RUNTIME.iter().chain(trace.then_some(&RUNTIME_TRACE)).map(|file| include.join(file)));
        for flag in COMPILE {
            build.flag(flag);
        }
        build
            .out_dir(folder)
            .try_compile("card")
            .map_err(|error| format!("the card's model does not compile: {error}"))
    }
}

/// The C++ that Rust calls: ports are handed out as pointers, so that nothing is copied on the way.
fn shim(ports: &[ports::Port], trace: bool) -> String {
    let mut text = String::from("#include \"Vcard.h\"\n#include \"verilated.h\"\n");
    if trace {
        text.push_str("#include \"verilated_vcd_c.h\"\n");
    }
    text.push_str(
        "namespace {\nstruct Model {\n    VerilatedContext context;\n    Vcard card{&context, \"card\"};\n",
    );
    if trace {
        text.push_str("    VerilatedVcdC trace;\n");
    }
    text.push_str(
        "};\nModel& model(void* pointer) { return *static_cast<Model*>(pointer); }\n}\nextern \"C\" {\n\
         void* nitride_card_new() { return new Model; }\n\
         void nitride_card_delete(void* pointer) { delete &model(pointer); }\n\
         void nitride_card_eval(void* pointer) { model(pointer).card.eval(); }\n\
         void nitride_card_ports(void* pointer, void** ports) {\n    Vcard& card = model(pointer).card;\n",
    );
    for (index, port) in ports.iter().enumerate() {
        let _ = writeln!(text, "    ports[{index}] = &card.{};", port.member());
    }
    text.push_str("}\n");
    if trace {
        text.push_str(
            "int nitride_card_trace(void* pointer, const char* path) {\n    Model& m = model(pointer);\n    \
             m.context.traceEverOn(true);\n    m.card.trace(&m.trace, 99);\n    m.trace.open(path);\n    \
             return m.trace.isOpen();\n}\n\
             void nitride_card_dump(void* pointer, uint64_t time) { model(pointer).trace.dump(time); }\n\
             void nitride_card_flush(void* pointer) { model(pointer).trace.close(); }\n",
        );
    }
    text.push_str("}\n");
    text
}
