//! The command tree and nothing else: a word of the help text is the name of a file in `commands/`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    commands::{
        as_runner::AsRunner,
        cache::CacheCommand,
        can_sandbox::CanSandbox,
        can_start::CanStart,
        clock::Clock,
        completions::Completions,
        describe_builds::DescribeBuilds,
        doctor::Doctor,
        down::Down,
        drain::Drain,
        end_jobs::EndJobs,
        entrypoint::Entrypoint,
        events::Events,
        fill::Fill,
        host_runner::HostRunner,
        host_view::HostView,
        install::Install,
        job_completed::JobCompleted,
        job_started::JobStarted,
        key::KeyCommand,
        lint::Lint,
        login::LoginCommand,
        logout::LogoutCommand,
        logs::Logs,
        man::Man,
        metrics::Metrics,
        mint::Mint,
        preflight::Preflight,
        prepare::Prepare,
        prove::Prove,
        provenance::ProvenanceCommand,
        push::PushCommand,
        pusher::Pusher,
        register::Register,
        resume::Resume,
        sandbox_witness::SandboxWitness,
        seccomp::Seccomp,
        seed::Seed,
        serve::Serve,
        slots::SlotsCommand,
        status::StatusCommand,
        uninstall::Uninstall,
        up::UpCommand,
        update::{Rollback, Update},
        verify::Verify,
        verify_bundle::VerifyBundle,
    },
    progress::Output,
};

/// Put your own machine behind GitHub Actions for heavy Nix builds
///
/// A self-hosted runner in a container: from an image whose signature was checked, under caps that the
/// kernel enforces, registered with a short-lived token that no job can read, and easy to take away again.
#[derive(Debug, Parser)]
#[command(name = "vega-builder", version)]
#[command(after_help = "\
Examples:
  vega-builder up octo-org/heavy-builds     a listening runner in under a minute
  vega-builder install octo-org/heavy-builds  the same as a unit of this host's systemd
  vega-builder status                       what runs, under which caps, what GitHub says
  vega-builder lint                         which jobs can reach it, and by whose hand
  vega-builder down                         gone, here and at GitHub

Every setting is a flag, a variable (VEGA_BUILDER_MEMORY=12g) or a key in /etc/vega-builder/config.toml or
$XDG_CONFIG_HOME/vega-builder/config.toml; `vega-builder up --help` lists them.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Up(Box<UpCommand>),
    Install(Box<Install>),
    Verify(Verify),
    Lint(Lint),
    Register(Register),
    Status(StatusCommand),
    Doctor(Doctor),
    Logs(Logs),
    Events(Events),
    Metrics(Metrics),
    Prepare(Prepare),
    Slots(SlotsCommand),
    Seccomp(Seccomp),
    Update(Update),
    Rollback(Rollback),
    Drain(Drain),
    Resume(Resume),
    Down(Down),
    Uninstall(Uninstall),
    Push(Box<PushCommand>),
    Key(KeyCommand),
    Cache(CacheCommand),
    Serve(Serve),
    Provenance(ProvenanceCommand),
    Login(LoginCommand),
    Logout(LogoutCommand),
    Completions(Completions),
    Man(Man),
    #[command(hide = true)]
    VerifyBundle(VerifyBundle),
    #[command(hide = true)]
    Entrypoint(Entrypoint),
    #[command(hide = true)]
    Preflight(Preflight),
    #[command(hide = true)]
    Seed(Seed),
    #[command(hide = true)]
    Fill(Fill),
    #[command(hide = true)]
    JobStarted(JobStarted),
    #[command(hide = true)]
    JobCompleted(JobCompleted),
    #[command(hide = true)]
    Pusher(Pusher),
    #[command(hide = true)]
    DescribeBuilds(DescribeBuilds),
    #[command(hide = true)]
    AsRunner(AsRunner),
    #[command(hide = true)]
    CanSandbox(CanSandbox),
    #[command(hide = true)]
    CanStart(CanStart),
    #[command(hide = true)]
    Clock(Clock),
    #[command(hide = true)]
    Prove(Prove),
    #[command(hide = true)]
    HostRunner(HostRunner),
    #[command(hide = true)]
    HostView(HostView),
    #[command(hide = true)]
    EndJobs(EndJobs),
    #[command(hide = true)]
    SandboxWitness(SandboxWitness),
    #[command(hide = true)]
    Mint(Mint),
}

impl Cli {
    /// How the chosen command reports.
    pub fn output(&self) -> Output {
        match &self.command {
            Command::Up(command) => command.output(),
            Command::Install(command) => command.output(),
            Command::Uninstall(command) => command.output(),
            Command::Verify(command) => command.output(),
            Command::Register(command) => command.output(),
            Command::Status(command) => command.output(),
            Command::Events(command) => command.output(),
            Command::Doctor(command) => command.output(),
            Command::Prepare(command) => command.output(),
            Command::Update(command) => command.output(),
            Command::Rollback(command) => command.output(),
            Command::Drain(command) => command.output(),
            Command::Resume(command) => command.output(),
            Command::Down(command) => command.output(),
            Command::Push(command) => command.output(),
            Command::Login(command) => command.output(),
            Command::Provenance(command) => command.output(),
            _ => Output::Text,
        }
    }

    /// Run the chosen command and give its exit code.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Up(command) => wait_for(command.run()),
            Command::Install(command) => wait_for(command.run()),
            Command::Uninstall(command) => wait_for(command.run()),
            Command::Verify(command) => wait_on_one_thread(command.run()),
            Command::Lint(command) => wait_for(async { Ok(command.run().await) }),
            Command::Register(command) => wait_for(command.run()),
            Command::Status(command) => wait_for(command.run()),
            Command::Doctor(command) => wait_for(command.run()),
            Command::Logs(command) => command.run(),
            Command::Events(command) => command.run(),
            Command::Metrics(command) => wait_for(command.run()),
            Command::Prepare(command) => wait_for(command.run()),
            Command::Seccomp(command) => command.run(),
            Command::Slots(command) => wait_for(command.run()),
            Command::Update(command) => wait_for(command.run()),
            Command::Rollback(command) => wait_for(command.run()),
            Command::Drain(command) => wait_for(command.run()),
            Command::Resume(command) => wait_for(command.run()),
            Command::Down(command) => wait_for(command.run()),
            Command::Push(command) => wait_for(command.run()),
            Command::Key(command) => command.run(),
            Command::Cache(command) => wait_for(command.run()),
            Command::Serve(command) => wait_for(command.run()),
            Command::Provenance(command) => wait_for(command.run()),
            Command::Login(command) => wait_for(command.run()),
            Command::Logout(command) => command.run(),
            Command::Completions(command) => Ok(command.run()),
            Command::Man(command) => command.run(),
            Command::VerifyBundle(command) => command.run(),
            Command::Entrypoint(command) => command.run(),
            Command::Preflight(command) => command.run(),
            Command::Seed(command) => command.run(),
            Command::Fill(command) => command.run(),
            Command::JobStarted(command) => command.run(),
            Command::JobCompleted(command) => Ok(command.run()),
            Command::Pusher(command) => wait_for(command.run()),
            Command::DescribeBuilds(command) => command.run(),
            Command::AsRunner(command) => command.run(),
            Command::CanSandbox(command) => Ok(command.run()),
            Command::CanStart(command) => Ok(command.run()),
            Command::Clock(command) => wait_on_one_thread(command.run()),
            Command::Prove(command) => command.run(),
            Command::EndJobs(command) => command.run(),
            Command::HostRunner(command) => command.run(),
            Command::HostView(command) => command.run(),
            Command::SandboxWitness(command) => command.run(),
            Command::Mint(command) => wait_for(command.run()),
        }
    }
}

/// For a command that only asks a registry: threads would cost more than they give.
fn wait_on_one_thread(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    crate::secrecy::harden();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// Only the host's commands need a runtime; PID 1 stays small without one.
fn wait_for(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    crate::secrecy::harden();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Each job of an ephemeral runner that waits for its uploads has one, and the next job is not to wait for them.
        .max_blocking_threads(4096)
        .enable_all()
        .build()?;
    let result = runtime.block_on(command);
    // A question to an engine that is still open does not keep the person from the answer.
    runtime.shutdown_background();
    result
}
