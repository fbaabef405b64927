//! `nitride nvme`: looks at, reads, writes and measures NVMe functions of a card.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use nitride_driver::Function;
use nitride_driver::nvme::{NamespaceInfo, Nvme, Options};
use serde_json::json;

use super::target::Target;

mod bench;
#[cfg(feature = "sim")]
mod simulated;
mod transfer;

/// NVMe functions of a card.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the namespaces of a function, or of all functions with a socket in a folder
    List(ListArgs),
    /// Show what a controller says of itself
    Id(ListArgs),
    /// Copy blocks of a namespace to a file or to standard output
    Read(transfer::ReadArgs),
    /// Copy a file or standard input to blocks of a namespace
    Write(transfer::WriteArgs),
    /// Measure operations a second and their latency
    Bench(bench::Args),
}

/// Which function.
#[derive(Debug, Clone, clap::Args)]
struct On {
    /// The function: a vfio-user socket of `nitride card`, the PCI address of one that is bound to vfio-pci, or
    /// `sim` for one of a card that is simulated in this process
    #[arg(long = "on", value_name = "SOCKET|ADDRESS|sim")]
    target: Target,
    /// With `--on sim`: the raw image that its namespace is; a scratch volume of 64 MiB if not given
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Seconds that a command may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
}

impl On {
    fn function(&self) -> Result<Arc<dyn Function>> {
        if self.image.is_some() && self.target != Target::Simulated {
            bail!("--image is for --on sim: what is at {} has its volumes already", self.target);
        }
        match self.target.open()? {
            Some(function) => Ok(function),
            #[cfg(feature = "sim")]
            None => simulated::function(self.image.as_deref()),
            #[cfg(not(feature = "sim"))]
            None => bail!("--on sim: this build has no simulator; build with the feature `sim`"),
        }
    }

    fn options(&self) -> Options {
        Options { timeout: Duration::from_secs(self.timeout), ..Options::default() }
    }

    /// Opens the controller.
    fn open(&self, options: Options) -> Result<Nvme> {
        let nvme = Nvme::open(self.function()?, options);
        nvme.with_context(|| format!("{} is not an NVMe function that can be used", self.target))
    }
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    on: On,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::List(args) => list(&args)?,
        Command::Id(args) => id(&args)?,
        Command::Read(args) => transfer::read(&args)?,
        Command::Write(args) => transfer::write(&args)?,
        Command::Bench(args) => bench::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The functions that `--on` means: itself, or the sockets in a folder.
fn targets(on: &On) -> Result<Vec<On>> {
    let path = match &on.target {
        Target::Socket(path) if path.is_dir() => path,
        _ => return Ok(vec![on.clone()]),
    };
    let mut sockets = Vec::new();
    for entry in path.read_dir().with_context(|| format!("looking into {}", path.display()))? {
        let socket = entry?.path();
        if socket.extension().is_some_and(|extension| extension == "sock") {
            sockets.push(socket);
        }
    }
    sockets.sort();
    if sockets.is_empty() {
        bail!("{} has no sockets (*.sock); is `nitride card` running with it?", path.display());
    }
    Ok(sockets.into_iter().map(|socket| On { target: Target::Socket(socket), ..on.clone() }).collect())
}

fn list(args: &ListArgs) -> Result<()> {
    let several = matches!(&args.on.target, Target::Socket(path) if path.is_dir());
    let mut rows = Vec::new();
    for on in targets(&args.on)? {
        match on.open(on.options()) {
            Ok(nvme) => {
                rows.extend(nvme.namespaces().iter().map(|namespace| (on.target.to_string(), *namespace)));
            }
            // A folder also has the sockets of other functions, and of functions that a guest uses.
            Err(error) if several => eprintln!("nitride: {}: skipped: {error:#}", on.target),
            Err(error) => return Err(error),
        }
    }
    if args.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(on, namespace)| json!({ "function": on, "namespace": describe(namespace) }))
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!("{:>4}  {:>14}  {:>6}  {:>10}  {:9}  function", "nsid", "blocks", "block", "size", "access");
    for (on, namespace) in rows {
        let access = if namespace.read_only { "read-only" } else { "" };
        let (blocks, size) = (namespace.blocks, binary(namespace.bytes()));
        println!(
            "{:>4}  {blocks:>14}  {:>6}  {size:>10}  {access:9}  {on}",
            namespace.id,
            namespace.block_size()
        );
    }
    Ok(())
}

fn id(args: &ListArgs) -> Result<()> {
    let nvme = args.on.open(args.on.options())?;
    let info = nvme.controller();
    let version = format!("{}.{}.{}", info.version >> 16, info.version >> 8 & 0xff, info.version & 0xff);
    if args.json {
        let namespaces: Vec<_> = nvme.namespaces().iter().map(describe).collect();
        let controller = json!({
            "function": args.on.target.to_string(),
            "vendor": info.vendor,
            "model": info.model,
            "serial": info.serial,
            "firmware": info.firmware,
            "subnqn": info.subnqn,
            "nvme_version": version,
            "max_transfer_bytes": info.max_transfer,
            "queue_entries": info.queue_entries,
            "namespaces_max": info.namespaces,
            "write_cache": info.write_cache,
            "deallocate": info.deallocate,
            "write_zeroes": info.write_zeroes,
            "namespaces": namespaces,
        });
        println!("{}", serde_json::to_string_pretty(&controller)?);
        return Ok(());
    }
    let yes = |has| if has { "yes" } else { "no" };
    println!("model         {}", info.model);
    println!("serial        {}", info.serial);
    println!("firmware      {}", info.firmware);
    println!("vendor        {:#06x}", info.vendor);
    println!("subsystem     {}", info.subnqn);
    println!("NVMe version  {version}");
    println!("transfer      up to {}", binary(info.max_transfer as u64));
    println!("queues        up to {} entries", info.queue_entries);
    println!("write cache   {}", yes(info.write_cache));
    println!("deallocate    {}", yes(info.deallocate));
    println!("write zeroes  {}", yes(info.write_zeroes));
    println!("namespaces    {} of {}", nvme.namespaces().len(), info.namespaces);
    Ok(())
}

fn describe(namespace: &NamespaceInfo) -> serde_json::Value {
    let nguid = format!("{:032x}", u128::from_be_bytes(namespace.nguid));
    json!({
        "nsid": namespace.id,
        "blocks": namespace.blocks,
        "block_bytes": namespace.block_size(),
        "bytes": namespace.bytes(),
        "read_only": namespace.read_only,
        "nguid": nguid,
    })
}

/// The namespace that is meant.
fn namespace(nvme: &Nvme, nsid: u32) -> Result<NamespaceInfo> {
    let found = nvme.namespaces().iter().find(|namespace| namespace.id == nsid);
    found.copied().with_context(|| {
        let has: Vec<_> = nvme.namespaces().iter().map(|namespace| namespace.id.to_string()).collect();
        let has = if has.is_empty() { "none; attach a volume to it first".into() } else { has.join(", ") };
        format!("the function has no namespace {nsid} (it has {has})")
    })
}

/// Bytes in binary units.
fn binary(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = units.len() - 1;
    let unit = (0..power)
        .find(|unit| bytes >> (10 * unit) < 1024 || !bytes.is_multiple_of(1024 << (10 * unit)))
        .unwrap_or(power);
    format!("{} {}", bytes >> (10 * unit), units[unit])
}

/// Parses a number of bytes with an optional binary unit: `4096`, `4k`, `1M`, `2GiB`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_end_matches(['B', 'b', 'i']).to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("`{unit}` is not a unit; use k, M, G or T")),
    };
    let number: u64 = number.parse().map_err(|_| "expected a number of bytes, like 4096 or 4k".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "the number is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_binary_units() {
        assert_eq!(
            (parse_bytes("4k"), parse_bytes("1MiB"), parse_bytes("512")),
            (Ok(4096), Ok(1 << 20), Ok(512))
        );
        assert!(
            parse_bytes("4x").is_err() && parse_bytes("k").is_err() && parse_bytes("99999999999T").is_err()
        );
    }

    #[test]
    fn sizes_are_shown_without_loss() {
        assert_eq!(
            (binary(4096), binary(1 << 20), binary(4097), binary(0)),
            ("4 KiB".into(), "1 MiB".into(), "4097 B".into(), "0 B".into())
        );
    }
}
