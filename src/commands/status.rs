//! `status`: what runs here, under which caps, and what GitHub says of it.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use crate::{
    contract::State,
    engine::{self, Cli, InForce, Inspected, Status as ContainerStatus},
    github::{Credential, GitHub, Runner},
    installation::{Installation, Places, Record},
    progress::Output,
    value::ByteSize,
};

/// Show the runners that are installed here
///
/// The container, the digest that runs and when its signature was verified, the caps that were asked for and
/// those that the kernel enforces, the registration, what GitHub says, and how large the store is.
/// Exit code 0: every runner runs, under its caps; 8: one does not.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder status
  vega-builder status octo-org/heavy-builds --output json")]
pub struct StatusCommand {
    /// The runner's name or its repository; all of them unless given
    #[arg(value_name = "NAME|OWNER/REPO")]
    runner: Option<String>,
    /// A file that holds a GitHub token, instead of GH_TOKEN, GITHUB_TOKEN or `gh auth token`
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Everything that is known of one runner; what could not be asked is the reason why.
struct Report {
    record: Record,
    container: Option<Inspected>,
    in_force: Option<Result<InForce, String>>,
    state: Option<State>,
    github: Result<Option<Runner>, String>,
    store: Option<ByteSize>,
}

impl StatusCommand {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let places = Places::standard();
        let installed = match &self.runner {
            Some(wanted) => vec![places.find(Some(wanted))?],
            None => places.installed(),
        };
        if installed.is_empty() {
            return Err(crate::installation::Error::None.into());
        }
        let mut reports = Vec::new();
        for installation in &installed {
            reports.push(Report::of(installation, self.token_file.as_deref()).await?);
        }
        match self.output {
            Output::Json => {
                let objects: Vec<_> = reports.iter().map(Report::object).collect();
                println!("{}", serde_json::to_string_pretty(&objects)?);
            }
            Output::Text => reports.iter().for_each(Report::print),
        }
        Ok(if reports.iter().all(Report::is_sound) { ExitCode::SUCCESS } else { ExitCode::from(8) })
    }
}

impl Report {
    async fn of(installation: &Installation, token_file: Option<&std::path::Path>) -> anyhow::Result<Self> {
        let record = installation.record()?.context("the record is gone")?;
        let engine = engine::detect(Some(&record.engine))?;
        let container = engine.inspect(&installation.name)?;
        let in_force = container
            .as_ref()
            .filter(|container| container.status == ContainerStatus::Running && container.pid != 0)
            .map(|container| {
                let caps = InForce::of(container.pid).map_err(|why| why.to_string())?;
                caps.prove(&record.caps).map_err(|why| why.to_string())?;
                Ok(caps)
            });
        let github = ask_github(&record, token_file).await.map_err(|why| format!("{why:#}"));
        let store = store_size(&engine, installation);
        Ok(Self { state: installation.runner_state(), container, in_force, github, store, record })
    }

    fn is_sound(&self) -> bool {
        matches!(self.in_force, Some(Ok(_)))
    }

    fn object(&self) -> serde_json::Value {
        json!({
            "name": self.record.identity.name,
            "repository": self.record.identity.repository,
            "labels": self.record.identity.labels,
            "engine": self.record.engine,
            "image": self.record.image,
            "digest": self.record.digest,
            "evidence": self.record.evidence,
            "container": self.container.as_ref().map(|container| json!({
                "id": container.id,
                "status": format!("{:?}", container.status).to_lowercase(),
                "pid": container.pid,
                "started_at": container.started_at,
                "restarts": container.restarts,
            })),
            "caps": {
                "asked": self.record.caps,
                "in_force": self.in_force.as_ref().and_then(|caps| caps.as_ref().ok()),
                "error": self.in_force.as_ref().and_then(|caps| caps.as_ref().err()),
            },
            "runner": self.state,
            "registered": self.record.registered.is_some(),
            "github": match &self.github {
                Ok(Some(runner)) => json!({ "id": runner.id, "status": runner.status, "busy": runner.busy }),
                Ok(None) => json!({ "status": "unknown there" }),
                Err(why) => json!({ "error": why }),
            },
            "store_bytes": self.store.map(|size| size.0),
        })
    }

    fn print(&self) {
        let record = &self.record;
        let line = |name: &str, text: &str| anstream::println!("  {name:12} {text}");
        anstream::println!("{} for {}", record.identity.name, record.identity.repository);
        line("container", &self.container_line());
        line("image", &format!("{}@{}", record.image, record.digest));
        let evidence = &record.evidence;
        line("verified", &format!("{:.0}, signed by {}", evidence.verified_at, evidence.identity));
        line("caps asked", &record.caps.to_string());
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
        line("labels", &record.identity.labels.to_string());
        line(
            "GitHub",
            &match &self.github {
                Ok(Some(runner)) if runner.busy => format!("{}, busy (runner {})", runner.status, runner.id),
                Ok(Some(runner)) => format!("{}, idle (runner {})", runner.status, runner.id),
                Ok(None) => {
                    format!("does not know it; type `vega-builder register {}`", record.identity.name)
                }
                Err(why) => format!("not asked: {why}"),
            },
        );
        if let Some(size) = self.store {
            line("store", &size.to_string());
        }
    }

    fn container_line(&self) -> String {
        match &self.container {
            None => format!("gone; type `vega-builder up {}`", self.record.identity.repository),
            Some(container) => {
                let status = format!("{:?}", container.status).to_lowercase();
                format!(
                    "{status} in {}, process {}, restarted {} times",
                    self.record.engine, container.pid, container.restarts
                )
            }
        }
    }
}

fn words(state: &State) -> String {
    let phase = serde_json::to_value(state.phase).ok();
    let phase = phase.as_ref().and_then(|phase| phase.as_str()).unwrap_or_default().replace('-', " ");
    if state.message.is_empty() { phase } else { format!("{phase} ({})", state.message) }
}

fn sandbox(state: &State) -> &'static str {
    match state.sandbox {
        Some(true) => ", builds in the sandbox",
        Some(false) => ", builds WITHOUT the sandbox",
        None => "",
    }
}

async fn ask_github(record: &Record, token_file: Option<&std::path::Path>) -> anyhow::Result<Option<Runner>> {
    let identity = &record.identity;
    let credential = Credential::find(token_file, identity.server.host_str().unwrap_or("github.com"))?;
    Ok(GitHub::new(&identity.server, &identity.repository, &credential)?.runner(&identity.name).await?)
}

/// The disk that the store's volume takes, as the file system counts it.
fn store_size(engine: &Cli, installation: &Installation) -> Option<ByteSize> {
    let volume = crate::engine::store_volume(&installation.name);
    let place = engine.run(&["volume", "inspect", "--format", "{{.Mountpoint}}", volume.as_str()]).ok()?;
    let output = std::process::Command::new("du").args(["-s", "--block-size=1", &place]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next()?.parse().ok().map(ByteSize)
}
