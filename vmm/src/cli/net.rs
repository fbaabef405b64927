//! `nitride net`: looks at and measures network functions of a card.
// Counts are shown rounded.
#![allow(clippy::cast_precision_loss)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use hdrhistogram::Histogram;
use nitride_abi::virtio;
use nitride_abi::virtio::net::{FRAME_BYTES, feature};
use nitride_driver::Function;
use nitride_driver::virtio_net::{Net, Options, Station};
use serde_json::json;

use super::target::Target;

#[cfg(feature = "sim")]
mod simulated;

/// Frames that are there and back before anything is measured, one at a time.
const ROUNDS: u64 = 100;
/// The longest round trip that is told apart, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// How long nothing may arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Network functions of a card.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a network device says of itself
    Info(InfoArgs),
    /// Send frames from one network device to another: frames a second, bandwidth, round trips
    Bench(BenchArgs),
}

#[derive(Debug, clap::Args)]
struct InfoArgs {
    /// The function: a vfio-user socket of `nitride card`, the PCI address of one that is bound to vfio-pci, or
    /// `sim` for one of a card that is simulated in this process
    #[arg(long = "on", value_name = "SOCKET|ADDRESS|sim")]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct BenchArgs {
    /// The function that sends: a socket, a PCI address, or `sim` for both functions of a card that is simulated in this process
    #[arg(long = "on", value_name = "SOCKET|ADDRESS|sim")]
    from: Target,
    /// The function that receives; it is in the same network
    #[arg(long, value_name = "SOCKET|ADDRESS")]
    to: Option<Target>,
    /// Bytes of each frame, without its FCS
    #[arg(long, default_value_t = 1514, value_parser = clap::value_parser!(u16).range(Station::SHORTEST as i64..=FRAME_BYTES as i64))]
    size: u16,
    /// Frames under way at most
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=128))]
    depth: u16,
    /// Seconds to run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86400))]
    seconds: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Info(args) => info(args)?,
        Command::Bench(args) => bench(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Two functions that reach each other, of a card that is simulated in this process.
fn simulated() -> Result<[Arc<dyn Function>; 2]> {
    #[cfg(feature = "sim")]
    return simulated::functions();
    #[cfg(not(feature = "sim"))]
    bail!("--on sim: this build has no simulator; build with the feature `sim`");
}

fn open(target: &Target, function: Arc<dyn Function>) -> Result<Net> {
    let net = Net::open(function, Options::default());
    net.with_context(|| format!("{target} is not a network function that can be used"))
}

/// Names of the features that are agreed on with the device.
fn features(bits: u64) -> Vec<&'static str> {
    let names = [
        (virtio::feature::VERSION_1, "VERSION_1"),
        (virtio::feature::ACCESS_PLATFORM, "ACCESS_PLATFORM"),
        (virtio::feature::EVENT_IDX, "RING_EVENT_IDX"),
        (feature::CSUM, "CSUM"),
        (feature::GUEST_CSUM, "GUEST_CSUM"),
        (feature::MAC, "MAC"),
        (feature::MTU, "MTU"),
        (feature::STATUS, "STATUS"),
        (feature::MRG_RXBUF, "MRG_RXBUF"),
        (feature::CTRL_VQ, "CTRL_VQ"),
        (feature::CTRL_RX, "CTRL_RX"),
        (feature::CTRL_VLAN, "CTRL_VLAN"),
        (feature::CTRL_MAC_ADDR, "CTRL_MAC_ADDR"),
        (feature::MQ, "MQ"),
    ];
    names.into_iter().filter(|(number, _)| bits >> number & 1 == 1).map(|(_, name)| name).collect()
}

fn info(args: &InfoArgs) -> Result<()> {
    let function = match args.target.open()? {
        Some(function) => function,
        None => simulated()?[0].clone(),
    };
    let net = open(&args.target, function)?;
    let (mac, mtu, link) = (text(net.mac()), net.mtu()?, net.link_up()?);
    let features = features(net.features());
    if args.json {
        let device = json!({
            "function": args.target.to_string(), "mac": mac, "mtu": mtu, "link_up": link, "features": features,
        });
        println!("{}", serde_json::to_string_pretty(&device)?);
        return Ok(());
    }
    println!("MAC       {mac}");
    println!("MTU       {}", mtu.map_or("not told".into(), |mtu| mtu.to_string()));
    println!("link      {}", if link { "up" } else { "down" });
    println!("features  {}", features.join(" "));
    Ok(())
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn bench(args: &BenchArgs) -> Result<()> {
    let (from, to) = match (args.from.open()?, &args.to) {
        (None, None) => simulated()?.into(),
        (None, Some(_)) => bail!("--on sim has both functions: leave --to out"),
        (Some(_), None) => bail!("name the function that receives with --to"),
        (Some(from), Some(target)) => {
            (from, target.open()?.context("--to sim: simulate both functions, with --on sim")?)
        }
    };
    let near = open(&args.from, from.clone())?;
    let far = open(args.to.as_ref().unwrap_or(&args.from), to)?;
    let (near_mac, far_mac, size) = (near.mac(), far.mac(), usize::from(args.size));
    let (mut near, mut far) = (Station::new(near, far_mac, size), Station::new(far, near_mac, size));
    let trips = round_trips(&mut near, &mut far)?;
    let (frames_before, clock_before) = (far.received, args.from.clock(&*from));
    let start = Instant::now();
    one_way(args, &mut near, &mut far)?;
    let elapsed = start.elapsed().as_secs_f64();
    let frames = far.received - frames_before;
    let clock = clock_before.and_then(|before| Ok(args.from.clock(&*from)?.saturating_sub(before)));
    let cycles = clock.map(|cycles| cycles as f64 / frames as f64);
    let (rate, lost) = (frames as f64 / elapsed, near.sent - far.received);
    let megabits = rate * 8.0 * size as f64 / 1e6;
    let trip = |quantile| trips.value_at_quantile(quantile) as f64 / 1e3;
    if args.json {
        let result = json!({
            "from": args.from.to_string(), "to": args.to.as_ref().map(ToString::to_string), "bytes": size, "depth": args.depth,
            "frames": frames, "lost": lost, "seconds": elapsed, "frames_per_second": rate, "megabits_per_second": megabits,
            "cycles_per_frame": cycles.ok(), "round_trip_us": { "p50": trip(0.5), "p99": trip(0.99), "max": trip(1.0) },
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
        return Ok(());
    }
    println!("frames      {frames} in {elapsed:.2} s, {lost} lost");
    println!("rate        {rate:.0} frames/s, {megabits:.1} Mb/s");
    println!("round trip  p50 {:.0} µs, p99 {:.0} µs, max {:.0} µs", trip(0.5), trip(0.99), trip(1.0));
    match cycles {
        Ok(cycles) => println!("card        {cycles:.1} cycles per frame"),
        Err(error) => println!("card        no cycle counter: {error:#}"),
    }
    Ok(())
}

/// Sends a frame there and back, time and again; gives the round trips in nanoseconds.
fn round_trips(near: &mut Station, far: &mut Station) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new_with_max(LONGEST, 3)?;
    for round in 1..=ROUNDS {
        let start = Instant::now();
        near.send(round)?;
        while near.received < round {
            far.receive()?;
            far.send(far.received)?;
            near.receive()?;
            if start.elapsed() > PATIENCE {
                bail!(
                    "no frame came back within {} s: are both devices in one network, with their links up?",
                    PATIENCE.as_secs()
                );
            }
        }
        histogram.saturating_record(start.elapsed().as_nanos() as u64);
    }
    Ok(histogram)
}

/// Sends frames one way until the time is over, and takes what is under way then.
fn one_way(args: &BenchArgs, near: &mut Station, far: &mut Station) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let bar = super::bar(args.seconds);
    let mut progress = (Instant::now(), far.received);
    loop {
        let now = Instant::now();
        if now < end {
            near.send(far.next + u64::from(args.depth))?;
        } else if far.next == near.sent || now - progress.0 > Duration::from_millis(500) {
            break;
        }
        far.receive()?;
        if far.received > progress.1 {
            if now - progress.0 > Duration::from_millis(100) {
                bar.set_position(args.seconds - end.saturating_duration_since(now).as_secs());
                bar.set_message(format!("{} frames", far.received));
            }
            progress = (now, far.received);
        } else if now - progress.0 > PATIENCE {
            bail!("no frame arrived for {} s", PATIENCE.as_secs());
        }
    }
    bar.finish_and_clear();
    Ok(())
}
