//! `nitride nvme read` and `nitride nvme write`.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use nitride_driver::nvme::{Command, NamespaceInfo, Nvme, QueuePair};

use super::{On, namespace, parse_bytes};

/// Which blocks.
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    on: On,
    /// The namespace
    #[arg(long, short, default_value_t = 1)]
    namespace: u32,
    /// The first block
    #[arg(long, default_value_t = 0)]
    lba: u64,
}

#[derive(Debug, clap::Args)]
pub struct ReadArgs {
    #[command(flatten)]
    place: Place,
    /// How much, like 4096, 64k or 1G; a multiple of the block size. Up to the namespace's end if not given
    #[arg(long, value_parser = parse_bytes)]
    bytes: Option<u64>,
    /// Where to: a new file, or `-` for standard output
    #[arg(long, short, default_value = "-")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    #[command(flatten)]
    place: Place,
    /// Where from: a file, or `-` for standard input. The last block is filled up with zeroes
    #[arg(long, short, default_value = "-")]
    input: PathBuf,
}

struct Transfer {
    nvme: Nvme,
    queue: QueuePair,
    namespace: NamespaceInfo,
}

impl Place {
    fn open(&self) -> Result<Transfer> {
        let nvme = self.on.open(self.on.options())?;
        let namespace = namespace(&nvme, self.namespace)?;
        if self.lba > namespace.blocks {
            bail!(
                "block {} is beyond the end of namespace {} ({} blocks)",
                self.lba,
                namespace.id,
                namespace.blocks
            );
        }
        let queue = nvme.queue_pair(0).context("the controller has no I/O queue")?;
        Ok(Transfer { nvme, queue, namespace })
    }
}

pub fn read(args: &ReadArgs) -> Result<()> {
    let Transfer { nvme, queue, namespace } = args.place.open()?;
    let rest = (namespace.blocks - args.place.lba) << namespace.block_shift;
    let bytes = args.bytes.unwrap_or(rest);
    if bytes > rest || !bytes.is_multiple_of(namespace.block_size() as u64) {
        let size = namespace.block_size();
        bail!(
            "{bytes} bytes are not possible: from block {} on there are {rest}, in blocks of {size}",
            args.place.lba
        );
    }
    let mut output: Box<dyn Write> = if args.output == Path::new("-") {
        Box::new(io::stdout().lock())
    } else {
        let file = File::create_new(&args.output);
        Box::new(file.with_context(|| format!("creating {}", args.output.display()))?)
    };
    let buffer = nvme.allocate(nvme.controller().max_transfer)?;
    let mut data = vec![0; nvme.controller().max_transfer];
    let bar = progress(bytes, "reading");
    let mut done = 0;
    while done < bytes {
        let part = (bytes - done).min(data.len() as u64) as usize;
        let lba = args.place.lba + (done >> namespace.block_shift);
        let blocks = (part >> namespace.block_shift) as u32;
        queue.execute(&Command::Read { namespace: namespace.id, lba, blocks, buffer: &buffer, offset: 0 })?;
        buffer.read(0, &mut data[..part])?;
        output.write_all(&data[..part]).context("writing the data")?;
        done += part as u64;
        bar.set_position(done);
    }
    output.flush().context("writing the data")?;
    bar.finish_and_clear();
    Ok(())
}

pub fn write(args: &WriteArgs) -> Result<()> {
    let mut input: Box<dyn Read> = if args.input == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&args.input);
        Box::new(file.with_context(|| format!("opening {}", args.input.display()))?)
    };
    let total = args.input.metadata().map_or(0, |metadata| metadata.len());
    let Transfer { nvme, queue, namespace } = args.place.open()?;
    let room = (namespace.blocks - args.place.lba) << namespace.block_shift;
    if total > room {
        bail!(
            "{} has {total} bytes; from block {} on there is room for {room}",
            args.input.display(),
            args.place.lba
        );
    }
    let buffer = nvme.allocate(nvme.controller().max_transfer)?;
    let mut data = vec![0; nvme.controller().max_transfer];
    let bar = progress(total, "writing");
    let mut done = 0u64;
    loop {
        let part = fill(&mut *input, &mut data).context("reading the data")?;
        if part == 0 {
            break;
        }
        let padded = part.next_multiple_of(namespace.block_size());
        if done + padded as u64 > room {
            bail!(
                "the data does not fit: only {room} bytes from block {} on; {done} were written",
                args.place.lba
            );
        }
        data[part..padded].fill(0);
        buffer.write(0, &data[..padded])?;
        let lba = args.place.lba + (done >> namespace.block_shift);
        let blocks = (padded >> namespace.block_shift) as u32;
        let id = namespace.id;
        queue.execute(&Command::Write {
            namespace: id,
            lba,
            blocks,
            buffer: &buffer,
            offset: 0,
            durable: false,
        })?;
        done += padded as u64;
        bar.set_position(done);
    }
    queue.execute(&Command::Flush { namespace: namespace.id })?;
    bar.finish_and_clear();
    eprintln!("{done} bytes written to namespace {} from block {} on", namespace.id, args.place.lba);
    Ok(())
}

/// Reads until `data` is full or the input ends.
fn fill(input: &mut dyn Read, data: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < data.len() {
        match input.read(&mut data[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// A progress bar in bytes, on a terminal only.
fn progress(total: u64, what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}");
    let bar = ProgressBar::new(total).with_message(what);
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}
