//! `push`, against `nix copy` of the installed Nix at the best of its settings.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use simulator::{
    cache::Server,
    fault::{Fault, Kind},
};

use super::{
    figure::{Figure, Pair, flat},
    verify::peak,
};
use crate::{
    nix_store::NixStore,
    scene::{program, succeeded},
};

const LARGE: usize = 220 << 20;
const DELAY: Duration = Duration::from_millis(20);

/// Both sides push from one store to places of their own, as one user with a home of its own.
struct Bench {
    store: NixStore,
    folder: tempfile::TempDir,
    round: std::cell::Cell<usize>,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { store: NixStore::new()?, folder: tempfile::tempdir()?, round: std::cell::Cell::new(0) })
    }

    /// A place that nothing was pushed to, and a home in which Nix remembers nothing.
    fn fresh(&self) -> String {
        self.round.set(self.round.get() + 1);
        self.folder.path().join(self.round.get().to_string()).display().to_string()
    }

    fn ours(&self, to: &str, paths: &[String]) -> Command {
        let mut command = Command::new(program());
        command.args(["push", "--to", to, "--store", &self.store.url(), "--upstream", ""]).args(paths);
        command
    }

    fn theirs(&self, to: &str, paths: &[String]) -> Command {
        let mut command = Command::new("nix");
        command
            .args(["--extra-experimental-features", "nix-command", "copy", "--no-check-sigs", "--from"])
            .args([&self.store.url(), "--to", to])
            .args(["--option", "http-connections", "100"])
            .args(paths)
            .env("HOME", self.fresh());
        command
    }
}

pub fn push(against: &str) -> anyhow::Result<Vec<Figure>> {
    let mut figures = large(against)?;
    figures.push(small(against)?);
    figures.push(present(against)?);
    figures.push(per_path()?);
    Ok(figures)
}

/// One path of real programs, compressed by both at level 3 of zstd, on all processors.
fn large(against: &str) -> anyhow::Result<Vec<Figure>> {
    let bench = Bench::new()?;
    let path = [bench.store.add("large", &[], programs)?];
    let ours = |to: &str| bench.ours(to, &path);
    let theirs =
        |to: &str| bench.theirs(&format!("file://{to}?compression=zstd&parallel-compression=true"), &path);
    let (our_place, their_place) = (bench.fresh(), bench.fresh());
    timed(ours(&our_place))?;
    timed(theirs(&their_place))?;
    let [our_size, their_size] = [size(&our_place)?, size(&their_place)?];
    println!("one path of {} MiB: ours {our_size} bytes, theirs {their_size}", LARGE >> 20);
    ensure!(our_size <= their_size + their_size / 50, "ours is {our_size} bytes, theirs {their_size}");
    let time = Pair::rounds(5, |_| timed(ours(&bench.fresh())), |_| timed(theirs(&bench.fresh())))?;
    let [our_peak, their_peak] = [peak(&ours(&bench.fresh()))?, peak(&theirs(&bench.fresh()))?];
    println!(
        "the largest process of all, the nix that ours asks for the closure among them: ours {our_peak:.1} MB, theirs {their_peak:.1} MB"
    );
    let memory = Pair::rounds(3, |_| own_peak(ours(&bench.fresh())), |_| own_peak(theirs(&bench.fresh())))?;
    Ok(vec![
        time.figure("push, one path of 220 MiB", against, 1.0),
        Figure {
            unit: "MB",
            ..memory.figure("push, one path of 220 MiB, peak memory of what pushes", against, 0.5)
        },
    ])
}

/// A thousand paths over HTTP whose every answer is 20 ms away.
fn small(against: &str) -> anyhow::Result<Figure> {
    let bench = Bench::new()?;
    let paths = bench.store.files("small", 1000)?;
    let far = |command: &dyn Fn(&str) -> Command| {
        let server = far_cache()?;
        let seconds = timed(command(server.url()))?;
        ensure!(server.names().len() > 2000, "not all of it came: {}", server.names().len());
        Ok(seconds)
    };
    let time = Pair::rounds(
        3,
        |_| far(&|to| bench.ours(to, &paths)),
        |_| far(&|to| bench.theirs(&format!("{to}?compression=zstd"), &paths)),
    )?;
    Ok(time.figure("push, 1,000 small paths over HTTP, 20 ms", against, 1.0 / 3.0))
}

/// Five thousand paths, all of which the cache has; it is as far away.
fn present(against: &str) -> anyhow::Result<Figure> {
    let bench = Bench::new()?;
    let paths = bench.store.files("present", 5000)?;
    let server = far_cache()?;
    timed(bench.ours(server.url(), &paths))?;
    let time = Pair::rounds(
        3,
        |_| timed(bench.ours(server.url(), &paths)),
        |_| timed(bench.theirs(server.url(), &paths)),
    )?;
    Ok(time.figure("push, 5,000 paths that are there, 20 ms", against, 0.2))
}

/// What one path of many takes, against one of a few.
fn per_path() -> anyhow::Result<Figure> {
    let bench = Bench::new()?;
    let paths = bench.store.files("many", 10_000)?;
    let each = |count: usize| {
        let seconds = timed(bench.ours(&bench.fresh(), &paths[..count]))?;
        #[expect(clippy::cast_precision_loss, reason = "counts of thousands")]
        Ok(seconds * 1e6 / count as f64)
    };
    each(100)?;
    let pair = Pair::rounds(3, |_| each(10_000), |_| each(100))?;
    Ok(flat(pair, "push, a path of 10,000, against one of 100"))
}

fn far_cache() -> anyhow::Result<Server> {
    let server = Server::start()?;
    for method in ["GET", "HEAD", "PUT"] {
        server.faults.add(Fault::new(method, "/", Kind::Delay(DELAY)).times(usize::MAX));
    }
    Ok(server)
}

/// Peak memory in megabytes of the very process that is started, those that it starts left out.
fn own_peak(mut command: Command) -> anyhow::Result<f64> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut most = 0.0_f64;
    // It only grows, so the last look before the end is the figure.
    while child.try_wait()?.is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        most = most.max(kib.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(2));
    }
    ensure!(child.wait()?.success(), "{command:?} failed");
    ensure!(most > 0.0, "it was over before it was looked at");
    Ok(most * 1024.0 / 1e6)
}

fn timed(mut command: Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let output = command.output()?;
    let seconds = begin.elapsed().as_secs_f64();
    succeeded(&output)?;
    Ok(seconds)
}

/// Bytes of the compressed NAR in a cache's folder.
fn size(place: &str) -> anyhow::Result<u64> {
    let files = fs::read_dir(Path::new(place).join("nar"))?;
    let sizes = files.map(|file| Ok(file?.metadata()?.len()));
    sizes.sum::<std::io::Result<u64>>().context("the cache's files")
}

/// This machine's own programs and libraries, as much of them as is wanted.
fn programs(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    let mut left = LARGE;
    let mut files: Vec<_> =
        ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
            .into_iter()
            .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()))
            .collect();
    files.sort_unstable();
    for (number, file) in files.iter().cycle().enumerate() {
        let mut content = Vec::new();
        fs::File::open(file)?.take(left as u64).read_to_end(&mut content)?;
        left -= content.len();
        // Round again, it is another content.
        let turn = u8::try_from(number / files.len()).unwrap_or(u8::MAX);
        for byte in &mut content {
            *byte = byte.wrapping_add(turn);
        }
        fs::write(path.join(number.to_string()), content)?;
        if left == 0 {
            return Ok(());
        }
    }
    Err(std::io::Error::other("this machine has no programs"))
}
