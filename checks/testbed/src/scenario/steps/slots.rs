//! An ephemeral runner, whose every job has a container of its own.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::ensure;

use crate::{scenario::Stage, scene::LOGIN};

/// The unit has a GitHub token of its own. (NixOS names the same file.)
pub fn declared(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let file = stage.world.folder().join("github-token");
    fs::write(&file, LOGIN)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    stage.settings = vec![
        ("VEGA_BUILDER_EPHEMERAL", "1".to_owned()),
        ("VEGA_BUILDER_TOKEN_FILE", file.display().to_string()),
    ];
    Ok(())
}

/// What the first wrote the second does not see; no registration token is minted for either.
pub fn two_jobs_apart(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let first = stage.container();
    let outcome = stage.outcome("echo mine >/var/tmp/mine; echo mine >~/mine; echo ONE")?;
    ensure!(outcome.log.contains("ONE"), "{outcome:?}");
    stage.until("there is no next container", || {
        let next = stage.container();
        next != first && stage.world.github.is_online(&next)
    })?;
    let outcome = stage.outcome("ls /var/tmp ~; echo TWO")?;
    ensure!(outcome.log.contains("TWO") && !outcome.log.contains("mine"), "{outcome:?}");
    ensure!(stage.world.github.minted() == stage.minted, "a registration token was minted");
    stage.until_online()
}

/// systemd starts it again; the job goes on, and nothing is there twice.
pub fn keeper_killed(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (container, pid) = (stage.container(), stage.unit("MainPID")?);
    stage.systemctl(&["kill", "--kill-whom=main", "--signal=KILL", &stage.service()])?;
    stage.until("it is not started again", || {
        stage.unit("MainPID").is_ok_and(|now| now != pid && now != "0")
            && stage.journal().is_ok_and(|said| said.contains("goes on in slot 1"))
    })?;
    ensure!(stage.container() == container, "{container} has gone");
    super::life::job_succeeded(stage)?;
    stage.until_online()?;
    let containers = stage.engine.containers()?;
    let ours = containers.iter().filter(|name| name.starts_with(&format!("{}.job-", stage.name))).count();
    ensure!(ours <= 2, "{containers:?}");
    Ok(())
}
