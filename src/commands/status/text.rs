//! The same for a person.

use super::report::Report;
use crate::{
    contract::State,
    installation::{Places, Record},
    progress::printable,
    systemd,
};

impl Report {
    /// On standard output, a line for each thing.
    pub(super) fn print(&self) {
        let identity = &self.known.identity;
        anstream::println!("{} for {}", identity.name, identity.scope);
        if let Some((service, state)) = &self.unit {
            line("unit", &format!("{service}, {state}"));
        }
        line(if self.housing.is_host() { "service" } else { "container" }, &self.container_line());
        for job in self.jobs.iter().flatten() {
            let state = job.state.as_ref().map_or_else(|| "starting".to_owned(), words);
            line(&format!("slot {}", job.slot), &format!("{state}, in {}", job.name));
        }
        if let Some(record) = &self.record {
            self.print_image(record);
        }
        line("caps asked", &self.caps().to_string());
        line(
            "in force",
            &match &self.in_force {
                Some(Ok(_)) => "all of them".to_owned(),
                Some(Err(why)) => why.clone(),
                None => "nothing runs".to_owned(),
            },
        );
        line(
            "runner",
            &match &self.state {
                Some(state) => format!("{} since {:.0}{}", words(state), state.since, sandbox(state)),
                None => "says nothing of itself".to_owned(),
            },
        );
        if let Some(drained) = &self.drained {
            let name = &identity.name;
            line(
                "drained",
                &format!(
                    "since {:.0}: it takes jobs again after `vega-builder resume {name}`",
                    drained.since
                ),
            );
        }
        line(
            "registered",
            match (&self.jobs, self.known.is_registered) {
                (Some(_), _) => "each job by itself, just in time",
                (None, true) => "saved: a restart needs no token",
                (None, false) => "not yet, as far as is known here",
            },
        );
        line("labels", &identity.labels.to_string());
        if let Some(accepted) = &self.known.accepted {
            line("STRANGERS", &format!("their code may run on this machine: accepted {:.0}", accepted.at));
            for finding in &accepted.findings {
                line("", &printable(finding));
            }
        }
        self.print_github();
        if let Some(size) = self.store {
            line("store", &size.to_string());
        }
        if let Some(uploads) = &self.uploads {
            uploads.lines().for_each(|(name, text)| line(name, &printable(&text)));
        }
    }

    /// What was verified, what it was before, and what it went back from.
    fn print_image(&self, record: &Record) {
        line("image", &record.image);
        line("digest", record.digest.as_str());
        let evidence = &record.evidence;
        // The same, after an update that was cut short before it had changed anything.
        if let Some(previous) = self.updates.previous.as_ref().filter(|it| it.record.digest != record.digest)
        {
            let digest = previous.record.digest.short();
            line(
                "before",
                &format!("{digest}: `vega-builder rollback {}` goes back to it", record.identity.name),
            );
        }
        if let Some(refused) = &self.updates.refused {
            let (digest, why) = (refused.digest.short(), printable(&refused.why));
            line("stays away", &format!("{digest}, since {:.0}: {why}", refused.at));
        }
        line("verified", &format!("{:.0}, signed by {}", evidence.verified_at, evidence.signer()));
        line("trusted by", &format!("{} ({}), {}", evidence.publisher, evidence.policy, evidence.root.name));
    }

    /// What GitHub says, and what is to come.
    fn print_github(&self) {
        let name = &self.known.identity.name;
        line(
            "GitHub",
            &match &self.github {
                Ok(Some(runner)) if runner.busy => format!("{}, busy (runner {})", runner.status, runner.id),
                Ok(Some(runner)) => format!("{}, idle (runner {})", runner.status, runner.id),
                Ok(None) if self.jobs.is_some() => {
                    format!("lists none of its jobs' runners as online; see `vega-builder logs {name}`")
                }
                Ok(None) => {
                    format!("does not know it; type `vega-builder register {name}`")
                }
                Err(why) => format!("not asked: {why}"),
            },
        );
        if let Some(version) = &self.version {
            let warning = self.warning(version);
            let warning = warning.map_or_else(String::new, |warning| format!(": {warning}"));
            line("version", &format!("{}{warning}", printable(&version.version)));
        }
        if let Some(update) = &self.next_update {
            let failed = match update.last_result.as_str() {
                "" | "success" => String::new(),
                _ => format!(
                    "; the last one failed: see `journalctl -u {}`",
                    systemd::update_service_name(name)
                ),
            };
            line("updates", &format!("by themselves, the next {}{failed}", update.next));
        }
    }

    fn to_make_whole(&self) -> String {
        Places::standard().installation(&self.known.identity.name).to_make_whole()
    }

    fn container_line(&self) -> String {
        match &self.container {
            Err(why) => format!("not known: {why}"),
            Ok(None) => match &self.unit {
                Some((service, _)) => format!("none now; see `journalctl -u {service}`"),
                None => format!("gone; type `{}`", self.to_make_whole()),
            },
            Ok(Some(_)) if !self.runs_what_was_verified() => {
                format!("is of ANOTHER IMAGE than the one that was verified; type `{}`", self.to_make_whole())
            }
            Ok(Some(found)) => {
                let status = format!("{:?}", found.status).to_lowercase();
                format!(
                    "{status} in {}, process {}, restarted {} times",
                    self.housing.name(),
                    found.pid,
                    found.restarts
                )
            }
        }
    }
}

fn line(name: &str, text: &str) {
    anstream::println!("  {name:12} {text}");
}

fn words(state: &State) -> String {
    let phase = serde_json::to_value(state.phase).ok();
    let phase = phase.as_ref().and_then(|phase| phase.as_str()).unwrap_or_default().replace('-', " ");
    let mut words =
        if state.message.is_empty() { phase } else { format!("{phase} ({})", printable(&state.message)) };
    if !state.draining.is_empty() {
        words = format!("{words}, draining: {}", printable(&state.draining));
    }
    words
}

fn sandbox(state: &State) -> &'static str {
    match state.sandbox {
        Some(true) => ", builds in the sandbox",
        Some(false) => ", builds WITHOUT the sandbox",
        None => "",
    }
}
