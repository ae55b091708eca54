//! What a runner costs while nothing happens.

use std::{thread, time::Duration};

use simulator::cache::Server;

use super::super::figure::{Figure, at_most};
use crate::{bare_host, by_hand, caching::Bench, cgroup, scene::Scene, slots::Slots};

const MINUTE: Duration = Duration::from_secs(60);
/// Whatever a start leaves to do is done.
const SETTLES: Duration = Duration::from_secs(5);

/// Of a minute each: one that stays, with what pushes its builds, and the keeper of slots; and one without a container. (Not
/// all of them at once: a kernel with version 1 of cgroups spreads a group's counters over the processors.)
pub fn idle() -> anyhow::Result<Vec<Figure>> {
    let (bench, cache) = (Bench::new("bench-rest"), Server::start()?);
    bench.up(cache.url(), "no");
    let scene = &bench.scene;
    let pid = |name: &str| scene.engine.pid(name);
    let (runner, pusher) = (pid(&scene.name)?, pid(&format!("{}.pusher", scene.name))?);
    thread::sleep(SETTLES);
    let spent = || anyhow::Ok([cgroup::cpu_seconds(runner)?, cgroup::cpu_seconds(pusher)?]);
    let before = spent()?;
    thread::sleep(MINUTE);
    let after = spent()?;
    let resident = [cgroup::memory_bytes(runner)?, cgroup::memory_bytes(pusher)?];
    scene.down()?;

    let slots_scene = Scene::new("bench-rests")?;
    let slots = Slots::start(&slots_scene, 1, "")?;
    slots.until_online(1)?;
    thread::sleep(SETTLES);
    let keeper_before = slots.cpu_seconds()?;
    thread::sleep(MINUTE);
    let (keeper, keeper_resident) = (slots.cpu_seconds()? - keeper_before, slots.resident()?);
    slots.end()?;

    let host = Scene::new("bench-rests-bare")?;
    bare_host::start(&host, "")?;
    thread::sleep(SETTLES);
    let pid = host.engine.pid(&host.name)?;
    let host_before = cgroup::cpu_seconds(pid)?;
    thread::sleep(MINUTE);
    let (bare, bare_resident) = (cgroup::cpu_seconds(pid)? - host_before, cgroup::memory_bytes(pid)?);
    by_hand::remove(&host);

    let ms = |name, seconds: f64| Figure { unit: "ms", ..at_most(name, seconds * 1000.0, 600.0) };
    Ok(vec![
        ms("idle runner's processor time, a minute", after[0] - before[0]),
        at_most("idle runner's container, memory", resident[0] / 1e6, 256.0),
        ms("idle pusher's processor time, a minute", after[1] - before[1]),
        at_most("idle pusher's container, memory", resident[1] / 1e6, 64.0),
        ms("keeper of idle slots, a minute", keeper),
        at_most("keeper of idle slots, resident", keeper_resident / 1e6, 40.0),
        ms("idle runner without a container, a minute", bare),
        at_most("idle runner without a container, memory", bare_resident / 1e6, 256.0),
    ])
}
