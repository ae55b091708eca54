//! A runner that is installed here: container, caps, image, trust.

use std::path::Path;

use super::{finding::Finding, host::disk};
use crate::{
    commands::steps::{
        declared::Declared,
        housing::Housing,
        subject::Subject,
        verification::{check, policy, rules},
    },
    contract::Phase,
    engine::{InForce, Status},
    host,
    image::Registry,
    installation::{Installation, Record},
    progress::Progress,
};

/// How it is, by what this host knows.
pub fn here(subject: &Subject) -> Vec<Finding> {
    let (installation, name) = (&subject.installation, &subject.installation.name);
    let about = if subject.housing.is_host() { "service" } else { "container" };
    let mut findings = Vec::new();
    if let Ok(Some(drained)) = installation.drained() {
        let next = format!("`vega-builder resume {name}`");
        findings.push(Finding::warning(
            "drained",
            format!("it takes no jobs since {:.0}", drained.since),
            next,
        ));
        return findings;
    }
    let anew = format!("`{}`", subject.to_make_whole());
    if let Housing::Host = subject.housing {
        findings.extend(on_host(subject));
    }
    let found = match subject.container() {
        Ok(Some(found)) => found,
        Ok(None) if installation.is_declared() => {
            let next = match &subject.record {
                None if !subject.housing.is_host() => installation.never_started(subject.is_ephemeral),
                _ => format!("`journalctl -u vega-builder-{name}`"),
            };
            findings.push(Finding::wrong(about, format!("its unit has no {about} now"), next));
            return findings;
        }
        Ok(None) => {
            findings.push(Finding::wrong(about, "it is gone", anew));
            return findings;
        }
        Err(why) => {
            findings.push(Finding::failure(about, why, format!("`vega-builder logs {name}`")));
            return findings;
        }
    };
    if found.status != Status::Running {
        let next = format!("`vega-builder logs {name}`, then {anew}");
        findings.push(Finding::wrong(about, format!("it is {:?}", found.status).to_lowercase(), next));
        return findings;
    }
    findings.push(Finding::fine(about, format!("runs, restarted {} times", found.restarts)));
    if let Some(record) = &subject.record {
        // A job of an ephemeral runner goes on with the image that it began with.
        if !subject.is_ephemeral && !record.local_id.is_empty() && found.image_id != record.local_id {
            findings.push(Finding::wrong(
                "container",
                "it is of ANOTHER IMAGE than the one that was verified",
                &anew,
            ));
        }
    }
    let asked = found.asked(subject.record.as_ref().map_or(subject.known.caps, |record| record.caps));
    findings.push(match InForce::of(found.pid).and_then(|caps| caps.prove(&asked)) {
        Ok(()) => Finding::fine("caps", format!("in force: {asked}")),
        Err(why) => Finding::wrong("caps", why.to_string(), &anew),
    });
    findings.push(match installation.runner_state() {
        Some(state) if matches!(state.phase, Phase::Listening | Phase::Busy) => {
            Finding::fine("runner", if state.phase == Phase::Busy { "at work" } else { "listens for jobs" })
        }
        Some(state) => {
            let next = match state.phase {
                _ if state.damaged => anew,
                Phase::GaveUp => format!("`vega-builder resume {name}`"),
                _ => format!("`vega-builder events {name}`"),
            };
            let silent = state.message.is_empty();
            let what = if silent { "it does not listen".to_owned() } else { state.message };
            Finding::wrong("runner", what, next)
        }
        None => Finding::warning("runner", "says nothing of itself", format!("`vega-builder logs {name}`")),
    });
    findings
}

/// What a runner without a container rests on.
fn on_host(subject: &Subject) -> Vec<Finding> {
    let declared = Declared::read(&subject.installation).map(|declared| declared.settings.host);
    let runner = declared.ok().flatten().map(|folder| host::unpacked(&folder));
    vec![
        match host::expect_nix() {
            Ok(()) => Finding::fine("Nix", "this host's, for several users"),
            Err(why) => Finding::failure("Nix", why, "Nix for several users, and its nix-daemon"),
        },
        match runner {
            Some(Ok(_)) | None => Finding::fine("program", "GitHub's runner is there, and root's"),
            Some(Err(why)) => {
                Finding::failure("program", why, "GitHub's runner, unpacked anew by root in its place")
            }
        },
        disk(Path::new("/nix"), "`nix-collect-garbage --delete-older-than 14d`"),
        disk(&subject.installation.state, &format!("`du -xsh {}`", subject.installation.state.display())),
    ]
}

/// Its image in the registry: whether that answers, whether there is a newer one, and whether that is trusted.
pub async fn image(record: &Record, here: &Installation) -> Vec<Finding> {
    let name = &record.identity.name;
    // Whom it trusts is written there.
    let config = here.file().map_or_else(String::new, |file| format!(" --config {}", file.display()));
    let progress = Progress::new(crate::progress::Output::Json);
    let resolved = async {
        let image = record.image.parse()?;
        let registry = Registry::of(&image, record.image_file.as_deref())?;
        let resolved = registry.resolve().await?;
        anyhow::Ok((image, registry, resolved))
    };
    let (image, registry, resolved) = match resolved.await {
        Ok(resolved) => resolved,
        Err(why) => {
            return vec![Finding::failure(
                "image",
                format!("{why:#}"),
                format!("`vega-builder verify {}{config}`", record.image),
            )];
        }
    };
    if resolved.platform.digest == record.digest {
        return vec![Finding::fine(
            "image",
            format!("{image} is what runs, signed by {}", record.evidence.signer()),
        )];
    }
    let judged = async {
        let policy = policy(rules(&record.trust)?, &progress).await?;
        check(&image, &registry, &resolved, &policy, None).await
    };
    let newer = resolved.platform.digest.short();
    vec![match judged.await {
        Ok(_) => {
            Finding::warning("image", format!("{newer} is newer"), format!("`vega-builder update {name}`"))
        }
        Err(why) => Finding::wrong(
            "trust",
            format!("{image} is another image now, and not trusted: {why:#}"),
            format!("`vega-builder verify {image} --explain{config}`; the one that runs goes on"),
        ),
    }]
}
