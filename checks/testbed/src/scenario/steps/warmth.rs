//! An ephemeral runner's stores that begin with what earlier jobs had from caches.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use anyhow::ensure;

use crate::{
    nix_store::NixStore,
    scenario::Stage,
    scene::{program, succeeded},
};

/// A configuration cannot name a key that is made later: this one is no secret, and signs what the test makes up.
const SECRET_KEY: &str =
    "warm-1:0IjTEJTHK0ruEPpPHi+xcY6ktTUqWaIaJ6dKpk0DljsghGAgq97K/X+M8s8ejwsCtF7V0NVacZLPpw9CsZfHeQ==";
const PUBLIC_KEY: &str = "warm-1:IIRgIKveyv1/jPLPHo8LArRe1dDVWnGSz6cPQrGXx3k=";
const NAME: &str = "had-from-a-cache";

/// A cache on this machine with a signed path in it; served until this life ends.
pub fn declared(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let folder = stage.world.folder().join(format!("{}.served", stage.name));
    let (key, cache) = (folder.join("key"), folder.join("cache"));
    fs::create_dir_all(&folder)?;
    fs::write(&key, SECRET_KEY)?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
    let store = NixStore::new()?;
    let path = store.file(NAME, &[])?;
    let mut push = Command::new(program());
    push.args(["push", &path, "--store", &store.url(), "--upstream", "", "--to"]).arg(&cache);
    succeeded(&push.arg("--key").arg(&key).output()?)?;
    fs::write(folder.join("path"), &path)?;
    let port = if stage.engine.program() == "podman" { 8096 } else { 8097 };
    let mut serve = Command::new(program());
    serve.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--cache"]).arg(&cache);
    serve.stdout(Stdio::null()).spawn()?;
    stage.settings.extend([
        ("VEGA_BUILDER_STORE", "warm".to_owned()),
        ("VEGA_BUILDER_EXTRA_SUBSTITUTERS", format!("http://127.0.0.1:{port}")),
        ("VEGA_BUILDER_EXTRA_TRUSTED_PUBLIC_KEYS", PUBLIC_KEY.to_owned()),
    ]);
    Ok(())
}

/// Fetched once by a job, and once by nobody's, it is there for a job that begins afterwards; what the first built is not.
pub fn kept(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let path = fs::read_to_string(stage.world.folder().join(format!("{}.served/path", stage.name)))?;
    // No other cache can be reached here.
    let caches = "$(tr ' ' '\\n' </etc/nix/nix.conf | grep http://127.0.0.1)";
    let fetch = format!("nix-store --realise {path} --option substituters {caches}");
    let outcome =
        stage.outcome(&format!("{fetch} && echo mine >mine && nix-store --add mine && echo HAD"))?;
    ensure!(outcome.log.contains("HAD"), "{outcome:?}");
    stage.until("nothing is kept", || {
        stage.journal().is_ok_and(|said| said.contains("1 paths that jobs had"))
    })?;
    // The one that had booted by then has none of it.
    stage.outcome("true")?;
    let outcome = stage.outcome(&format!(
        "cat {path}; ls -d /nix/store/*-mine || echo NONE; echo x >{path} || echo DENIED; nix-store --verify-path {path} && echo SOUND"
    ))?;
    for wanted in [NAME, "NONE", "DENIED", "SOUND"] {
        ensure!(outcome.log.contains(wanted), "{wanted}: {outcome:?}\n{}", stage.journal()?);
    }
    stage.until_online()
}
