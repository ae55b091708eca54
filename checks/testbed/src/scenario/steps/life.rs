//! A runner's life: listening, at work, gone and back.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, ensure};

use crate::{scenario::Stage, scene::succeeded, scripts};

pub fn online(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.until_online()?;
    if !stage.host.has_unit() {
        return Ok(());
    }
    stage.until("its unit is not up", || stage.unit("ActiveState").is_ok_and(|state| state == "active"))
}

pub fn sandboxed_job(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let script = scripts::sandboxed_build(&jiff::Timestamp::now().as_nanosecond().to_string());
    let outcome = stage.outcome(&script)?;
    ensure!(outcome.log.contains("sandbox: sandboxed"), "{outcome:?}");
    Ok(())
}

/// A job that takes a while.
pub fn busy(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let job = stage.enqueue("echo BEGUN; sleep 40; echo FINISHED");
    stage.job = Some(job);
    stage.until("the job does not begin", || stage.world.github.log_so_far(job).contains("BEGUN"))
}

pub fn job_succeeded(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let job = stage.job.take().context("no job runs")?;
    let outcome = stage.world.github.wait(job, Duration::from_secs(240))?;
    ensure!(outcome.result == "Succeeded" && outcome.log.contains("FINISHED"), "{outcome:?}");
    Ok(())
}

pub fn restart(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.systemctl(&["restart", &stage.service()])?;
    online(stage)
}

/// Back by itself; how long the machine was up when it listened.
pub fn back(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    online(stage)?;
    ensure!(stage.world.github.minted() == stage.world.minted_before, "a token was minted");
    let text = fs::read_to_string(stage.handover().join("state.json"))?;
    let told: serde_json::Value = serde_json::from_str(&text)?;
    let since: jiff::Timestamp = told["since"].as_str().context("no since")?.parse()?;
    let stat = fs::read_to_string("/proc/stat")?;
    let boot =
        stat.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<i64>().ok()).context("btime")?;
    let seconds = since.duration_since(jiff::Timestamp::from_second(boot)?).as_secs_f64();
    stage.figures.push(("boot to listening".to_owned(), seconds));
    Ok(())
}

/// Whoever would have written it down went with the power; it may have ended before, where other scenarios take their time.
pub fn cut_off(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.until("a job that began has no end", || {
        let told =
            stage.run(&["events", &stage.name, "--output", "json"]).and_then(|output| succeeded(&output));
        told.is_ok_and(|told| {
            let of = |event: &str| told.matches(&format!("\"event\":\"{event}\"")).count();
            of("job-started") >= 2 && of("job-started") == of("job-ended")
        })
    })
}

/// There is no registry any more.
pub fn verified_by_what_was_kept(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let said = stage.journal()?;
    ensure!(said.contains("with the signature that was kept") && said.contains("may start"), "{said}");
    Ok(())
}

pub fn one_runner(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let runners = stage.world.github.runners();
    let ours = runners.iter().filter(|runner| runner.name == stage.name).count();
    ensure!(ours == 1, "{ours} runners of that name");
    Ok(())
}

pub fn one_token(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let minted = stage.world.github.minted() - stage.minted;
    ensure!(minted == 1, "{minted} tokens were minted");
    Ok(())
}

/// As when somebody removed it on the web page, and its volume with it.
pub fn forget(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.systemctl(&["stop", &stage.service()])?;
    stage.engine.said(&["volume", "rm", &format!("{}-runner", stage.name)])?;
    stage.world.github.forget(&stage.name);
    Ok(())
}

pub fn comes_to_nothing(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage.systemctl(&["start", &stage.service()])?;
    // Nobody starts it again, and nothing has failed.
    for _ in 0..5 {
        let (active, restarts) = (stage.unit("ActiveState")?, stage.unit("NRestarts")?);
        ensure!(active == "inactive" && restarts == "0", "it is {active}, restarted {restarts} times");
        thread::sleep(Duration::from_secs(2));
    }
    let said = stage.journal()?;
    let last: Vec<&str> = said.lines().filter(|line| line.contains("has no registration")).collect();
    ensure!(last.len() == 1 && last[0].contains("vega-builder register"), "{said}");
    Ok(())
}

pub fn register(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    succeeded(&stage.run(&["register", &stage.name])?).map(drop)
}

pub fn both_apart(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let second = stage.second();
    second.until_online()?;
    let base = |stage: &Stage<'_>| {
        fs::read_to_string(format!("/proc/{}/uid_map", stage.engine.pid(&stage.name)?))
            .map_err(anyhow::Error::from)
    };
    let (one, other) = (base(stage)?, base(&second)?);
    ensure!(one != other, "both have the ids {one}");
    let group = |stage: &Stage<'_>| {
        fs::read_to_string(format!("/proc/{}/cgroup", stage.engine.pid(&stage.name)?))
            .map_err(anyhow::Error::from)
    };
    ensure!(group(stage)? != group(&second)?, "both are in {}", group(stage)?);
    ensure!(group(&second)?.contains("2.slice"), "{}", group(&second)?);
    let outcome = second.outcome("echo HERE")?;
    ensure!(outcome.log.contains("HERE"), "{outcome:?}");
    Ok(())
}
