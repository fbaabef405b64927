//! `nitride nvme bench`: operations a second, latencies, cycles per command.
// Counts are shown rounded.
#![allow(clippy::cast_precision_loss)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use nitride_driver::nvme::{Command, NamespaceInfo, Nvme, Options, QueuePair, Wait};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::{On, namespace, parse_bytes};
use crate::cli;

/// The longest latency that is told apart, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;
/// Most memory for the data of a queue's commands.
const MEMORY: usize = 64 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    on: On,
    /// The namespace
    #[arg(long, short, default_value_t = 1)]
    namespace: u32,
    /// What to do
    #[arg(long, value_enum, default_value_t = Pattern::RandomRead)]
    pattern: Pattern,
    /// Bytes of each command
    #[arg(long, value_parser = parse_bytes, default_value = "4k")]
    size: u64,
    /// Commands in flight on each queue
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1023))]
    depth: u32,
    /// Queue pairs, each with a thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    queues: u32,
    /// Seconds to run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86400))]
    seconds: u64,
    /// Stop after this many commands, if that comes first
    #[arg(long)]
    count: Option<u64>,
    /// Look at the queues all the time instead of waiting for interrupts
    #[arg(long)]
    poll: bool,
    /// Seed of the random blocks
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Allow patterns that write: the namespace's data is lost
    #[arg(long)]
    overwrite: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pattern {
    /// Reads of random blocks
    RandomRead,
    /// Writes of random blocks
    RandomWrite,
    /// Reads one after the other
    Read,
    /// Writes one after the other
    Write,
}

impl Pattern {
    fn writes(self) -> bool {
        matches!(self, Self::RandomWrite | Self::Write)
    }

    fn is_random(self) -> bool {
        matches!(self, Self::RandomRead | Self::RandomWrite)
    }
}

/// What all threads share.
struct Job<'a> {
    args: &'a Args,
    namespace: NamespaceInfo,
    /// Blocks of a command.
    blocks: u32,
    /// Commands started, to stop at the count.
    started: AtomicU64,
    /// Commands ended.
    ended: AtomicU64,
    deadline: Instant,
}

pub fn run(args: &Args) -> Result<()> {
    if args.pattern.writes() && !args.overwrite {
        bail!("this pattern destroys the data of namespace {}; add --overwrite if it may", args.namespace);
    }
    let nvme = args.on.open(Options {
        queue_pairs: args.queues as usize,
        queue_entries: args.depth + 1,
        wait: if args.poll { Wait::Poll } else { Wait::Interrupt },
        ..args.on.options()
    })?;
    let namespace = namespace(&nvme, args.namespace)?;
    let blocks = (args.size >> namespace.block_shift) as u32;
    let max = nvme.controller().max_transfer as u64;
    if args.size > max
        || args.size == 0
        || !args.size.is_multiple_of(namespace.block_size() as u64)
        || args.size > namespace.bytes()
    {
        let size = namespace.block_size();
        bail!(
            "--size {} is not possible: use a multiple of {size} up to {}",
            args.size,
            max.min(namespace.bytes())
        );
    }
    if nvme.queue_pairs() < args.queues as usize {
        bail!("the controller has {} I/O queue pairs, not {}", nvme.queue_pairs(), args.queues);
    }
    let deadline = Instant::now() + Duration::from_secs(args.seconds);
    let job = Job { args, namespace, blocks, started: AtomicU64::new(0), ended: AtomicU64::new(0), deadline };
    let clock = || args.on.target.clock(&**nvme.function());
    let before = clock();
    let start = Instant::now();
    let histogram = measure(&nvme, &job)?;
    let elapsed = start.elapsed();
    let cycles = before.and_then(|before| Ok(clock()?.saturating_sub(before)));
    report(&job, &histogram, elapsed, cycles)
}

/// Runs all queues, and shows how it goes.
fn measure(nvme: &Nvme, job: &Job<'_>) -> Result<Histogram<u64>> {
    let queues: Option<Vec<_>> = (0..job.args.queues as usize).map(|index| nvme.queue_pair(index)).collect();
    let queues = queues.context("a queue pair is missing")?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(&queues)
            .map(|(index, queue)| scope.spawn(move || drive(nvme, queue, job, index)))
            .collect();
        show_progress(job, || threads.iter().all(std::thread::ScopedJoinHandle::is_finished));
        let mut histogram = Histogram::new_with_max(LONGEST, 3)?;
        for thread in threads {
            match thread.join() {
                Ok(part) => histogram.add(part?)?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(histogram)
    })
}

/// Keeps one queue full until the job is done.
fn drive(nvme: &Nvme, queue: &QueuePair, job: &Job<'_>, index: u64) -> Result<Histogram<u64>> {
    let depth = queue.depth().min(job.args.depth as usize);
    let bytes = (job.args.size as usize).next_multiple_of(4096);
    // Commands may share memory: what is in it does not matter.
    let places_in_memory = depth.min(MEMORY / bytes).max(1);
    let buffer = nvme.allocate(places_in_memory * bytes)?;
    let mut turn = 0;
    let mut histogram = Histogram::new_with_max(LONGEST, 3)?;
    let mut begun = vec![Instant::now(); queue.depth()];
    let mut random = SmallRng::seed_from_u64(job.args.seed ^ index << 32);
    let places = job.namespace.blocks / job.blocks as u64;
    let mut next = places * index / job.args.queues as u64;
    let mut in_flight = 0;
    let mut more = true;
    let mut look = Instant::now() + Duration::from_secs(1);
    let mut failed = None;
    while more || in_flight > 0 {
        while more && in_flight < depth {
            let late = Instant::now() > job.deadline;
            if late
                || job.args.count.is_some_and(|count| job.started.fetch_add(1, Ordering::Relaxed) >= count)
            {
                more = false;
                break;
            }
            let place = if job.args.pattern.is_random() { random.random_range(0..places) } else { next };
            next = (next + 1) % places;
            let (namespace, lba, blocks) = (job.namespace.id, place * job.blocks as u64, job.blocks);
            let offset = turn % places_in_memory * bytes;
            turn += 1;
            let command = if job.args.pattern.writes() {
                Command::Write { namespace, lba, blocks, buffer: &buffer, offset, durable: false }
            } else {
                Command::Read { namespace, lba, blocks, buffer: &buffer, offset }
            };
            let now = Instant::now();
            let Some(tag) = queue.submit(&command)? else { break };
            begun[tag.index()] = now;
            in_flight += 1;
        }
        let count = queue.poll(|tag, outcome| {
            let nanoseconds = begun[tag.index()].elapsed().as_nanos();
            histogram.saturating_record(u64::try_from(nanoseconds).unwrap_or(LONGEST));
            if let Err(error) = outcome {
                failed.get_or_insert(error);
            }
        })?;
        in_flight -= count;
        job.ended.fetch_add(count as u64, Ordering::Relaxed);
        more &= failed.is_none();
        if count == 0 {
            queue.wait(Duration::from_millis(100))?;
            if Instant::now() > look {
                queue.look_after()?;
                look = Instant::now() + Duration::from_secs(1);
            }
        }
    }
    failed.map_or(Ok(histogram), |error| Err(error.into()))
}

fn show_progress(job: &Job<'_>, finished: impl Fn() -> bool) {
    let total = job.args.seconds * 1000;
    let bar = cli::bar(total);
    let start = Instant::now();
    while !finished() {
        std::thread::sleep(Duration::from_millis(50));
        let (elapsed, ended) = (start.elapsed(), job.ended.load(Ordering::Relaxed));
        let share = job.args.count.map_or(0, |count| total * ended / count.max(1));
        bar.set_position((elapsed.as_millis() as u64).max(share).min(total));
        bar.set_message(format!("{ended} commands, {:.0} a second", ended as f64 / elapsed.as_secs_f64()));
    }
    bar.finish_and_clear();
}

fn report(job: &Job<'_>, histogram: &Histogram<u64>, elapsed: Duration, cycles: Result<u64>) -> Result<()> {
    let commands = histogram.len();
    if commands == 0 {
        bail!("no command ended");
    }
    let seconds = elapsed.as_secs_f64();
    let iops = commands as f64 / seconds;
    let bandwidth = iops * job.args.size as f64;
    let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
    let latency = quantiles.map(|(name, quantile)| (name, histogram.value_at_quantile(quantile)));
    let per_command = cycles.map(|cycles| cycles as f64 / commands as f64);
    if job.args.json {
        let latency: serde_json::Map<_, _> =
            latency.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        let result = json!({
            "function": job.args.on.target.to_string(),
            "pattern": job.args.pattern.to_possible_value().map(|value| value.get_name().to_owned()),
            "bytes": job.args.size,
            "depth": job.args.depth,
            "queues": job.args.queues,
            "commands": commands,
            "seconds": seconds,
            "iops": iops,
            "bytes_per_second": bandwidth,
            "latency_ns": latency,
            "mean_latency_ns": histogram.mean(),
            "cycles_per_command": per_command.ok(),
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
        return Ok(());
    }
    println!("commands  {commands} in {seconds:.2} s");
    println!("rate      {iops:.0} IOPS, {:.1} MB/s", bandwidth / 1e6);
    let latency: Vec<_> =
        latency.iter().map(|(name, value)| format!("{name} {:.1} µs", *value as f64 / 1e3)).collect();
    println!("latency   {}", latency.join(", "));
    match per_command {
        Ok(cycles) => println!("card      {cycles:.0} cycles per command"),
        Err(error) => println!("card      no cycle counter: {error:#}"),
    }
    Ok(())
}
