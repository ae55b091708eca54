//! An ephemeral runner whose jobs' stores begin with what earlier jobs had from caches: that, and nothing of theirs.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use simulator::{
    cache,
    fault::{Fault, Kind},
};
use testbed::{
    caching::{Bench, narinfo, paths},
    nix_store::NixStore,
    scene::{program, succeeded},
    scripts::two_builds,
    slots::{PATIENCE, Slots, declaration},
};

const KEPT: &str = "paths that jobs had from caches are there for the next ones";

/// A cache with signed paths in it, and a runner that trusts its key.
struct Warm {
    bench: Bench,
    cache: cache::Server,
    store: NixStore,
}

impl Warm {
    fn new(name: &str) -> Self {
        Self {
            bench: Bench::new(name),
            cache: cache::Server::start().unwrap(),
            store: NixStore::new().unwrap(),
        }
    }

    fn push(&self, path: &str) {
        let mut push = Command::new(program());
        push.args(["push", path, "--store", &self.store.url(), "--upstream", "", "--to", self.cache.url()]);
        succeeded(&push.arg("--key").arg(self.bench.key()).output().unwrap()).unwrap();
    }

    fn start(&self) -> Slots<'_> {
        let more = format!(
            "[nix]\nstore = 'warm'\nextra-substituters = '{}'\nextra-trusted-public-keys = '{}'\n",
            self.cache.url(),
            self.bench.public_key()
        );
        let slots = Slots::start(&self.bench.scene, 1, &more).unwrap();
        slots.until_online(1).unwrap();
        slots
    }

    /// How often its content was asked for.
    fn fetched(&self, path: &str) -> usize {
        let text = String::from_utf8(self.cache.file(&narinfo(path)).unwrap()).unwrap();
        let url = text.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap();
        let asked = self.cache.faults.requests();
        asked.iter().filter(|asked| asked.method == "GET" && asked.path.ends_with(url)).count()
    }

    fn bases(&self) -> Vec<String> {
        let of_this = format!("{}-base-", self.bench.scene.name);
        let volumes = self.bench.scene.engine.volumes().unwrap();
        volumes.into_iter().filter(|volume| volume.starts_with(&of_this)).collect()
    }
}

/// Only the cache of the test can be reached.
fn fetch(path: &str, of: &Warm) -> String {
    format!("nix-store --realise {path} --option substituters {}\n", of.cache.url())
}

#[test]
fn podman_what_a_job_had_from_a_cache_is_there_for_the_next_ones_and_what_it_built_or_planted_is_not() {
    let warm = Warm::new("warm");
    let lower = warm.store.file("warm-lower", &[]).unwrap();
    let upper = warm.store.file("warm-upper", &[&lower]).unwrap();
    warm.push(&upper);
    let slots = warm.start();
    let poison = "echo poison >poison; nix-store --add poison; sleep 5\n";
    let job = slots.enqueue(&[fetch(&upper, &warm), two_builds("planted"), poison.to_owned()].concat());
    let log = || warm.bench.scene.github.log_so_far(job);
    slots.until("it does not build", || paths(&log()).len() == 2).unwrap();
    // Under the name of its own build something else lies in the cache, which nobody has signed.
    let built = paths(&log()).remove(0);
    let honest = String::from_utf8(warm.cache.file(&narinfo(&lower)).unwrap()).unwrap();
    let planted: String = honest
        .lines()
        .filter(|line| !line.starts_with("Sig:"))
        .map(|line| {
            if line.starts_with("StorePath: ") {
                format!("StorePath: {built}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    warm.cache.hold(&narinfo(&built), planted.into_bytes());
    slots.result(job).unwrap();
    slots.until("nothing is kept", || slots.log().contains(KEPT)).unwrap();
    assert!(slots.log().contains(&format!("2 {KEPT}")), "{}", slots.log());
    let asked = warm.cache.faults.requests();
    assert!(
        asked.iter().any(|asked| asked.path.ends_with(&narinfo(&built)) && asked.status == 200),
        "{asked:?}"
    );
    // The one that had booted by then has none of it.
    slots.job("true").unwrap();
    let fetches = warm.fetched(&upper);
    let seen = slots
        .job(&format!(
            "{}cat {upper}; nix-store --check-validity {upper} {lower} && echo valid; test -e {built} || echo no build\n\
             ls -d /nix/store/*poison* || echo no poison; rm -rf {upper} 2>&1 || true; echo x 2>&1 >{upper} || true\n\
             nix-store --delete {upper} --ignore-liveness 2>&1 || true; nix-store --gc 2>&1 || true",
            fetch(&upper, &warm)
        ))
        .unwrap();
    for wanted in ["warm-upper /nix/store", "valid", "no build", "no poison", "Permission denied"] {
        assert!(seen.contains(wanted), "{wanted}: {seen}\n{}", slots.log());
    }
    assert_eq!(warm.fetched(&upper), fetches, "{seen}");
    slots.job("true").unwrap();
    let seen = slots.job(&format!("cat {upper}; nix-store --verify-path {upper} && echo sound")).unwrap();
    assert!(seen.contains("warm-upper /nix/store") && seen.contains("sound"), "{seen}");
    // The image's own, and the one on which stores rest.
    assert_eq!(warm.bases().len(), 2, "{:?}", warm.bases());
    slots.end().unwrap();
}

#[test]
fn podman_what_is_kept_warm_has_its_bound_and_begins_anew_beyond_it() {
    let warm = Warm::new("bound");
    // Nothing but holes: half of the smallest budget there is, and quick to push.
    let hollow = |path: &Path| fs::File::create(path)?.set_len(1 << 30);
    let large = warm.store.add("warm-large", &[], hollow).unwrap();
    let small = warm.store.file("warm-small", &[]).unwrap();
    warm.push(&large);
    warm.push(&small);
    let slots = warm.start();
    slots.job(&fetch(&large, &warm)).unwrap();
    slots.until("nothing is kept", || slots.log().contains(KEPT)).unwrap();
    // Half of it is less than there is by now.
    let place = declaration(&warm.bench.scene);
    let text = fs::read_to_string(&place).unwrap();
    fs::write(&place, text.replace("[caps]\n", "[caps]\ndisk = '2g'\n")).unwrap();
    slots.signal(Signal::SIGHUP).unwrap();
    slots.until("it does not hear", || slots.log().contains("read the declaration again")).unwrap();
    slots.until_online(1).unwrap();
    slots.job("true").unwrap();
    slots.job(&fetch(&small, &warm)).unwrap();
    slots
        .until("it is not given up", || slots.log().contains("is given up: the store that jobs begin with"))
        .unwrap();
    slots.job("true").unwrap();
    let seen = slots.job(&format!("test -e {large} || echo cold")).unwrap();
    assert!(seen.contains("cold"), "{seen}");
    slots.end().unwrap();
}

#[test]
fn podman_a_keeper_that_is_killed_while_it_fetches_leaves_nothing_of_it() {
    let warm = Warm::new("fetching");
    let path = warm.store.file("warm-slow", &[]).unwrap();
    warm.push(&path);
    let mut slots = warm.start();
    // The job's own request goes well; the next one hangs.
    let hang = || Fault::new("GET", "/nar/", Kind::Delay(Duration::from_secs(600))).after(1).times(9);
    warm.cache.faults.add(hang());
    slots.job(&fetch(&path, &warm)).unwrap();
    // The one that listens, and the one that fetches.
    let fetches = |slots: &Slots<'_>| slots.containers().unwrap().len() == 2 && slots.online().len() == 1;
    slots.until("nobody fetches", || fetches(&slots)).unwrap();
    slots.signal(Signal::SIGKILL).unwrap();
    assert!(!slots.ended(PATIENCE).unwrap());
    slots.keep().unwrap();
    slots.until_online(1).unwrap();
    slots.until("what fetched stays", || slots.containers().unwrap().len() == 1).unwrap();
    assert!(warm.bases().len() == 1, "{:?}", warm.bases());
    // Nor does anybody wait for it who wants the slots at rest.
    warm.cache.faults.clear();
    warm.cache.faults.add(hang());
    slots.job(&fetch(&path, &warm)).unwrap();
    slots.until("nobody fetches again", || fetches(&slots)).unwrap();
    let began = Instant::now();
    succeeded(&warm.bench.scene.run(&["drain", &warm.bench.scene.name]).unwrap()).unwrap();
    assert!(
        slots.containers().unwrap().is_empty() && began.elapsed() < PATIENCE / 2,
        "{:?}",
        began.elapsed()
    );
    slots.end().unwrap();
}
