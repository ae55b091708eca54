//! The stand-in of GitHub's Actions runner: its command line, files, log lines, exit codes and hooks.
//!
//! Held to the public source of actions/runner 2.336.0: `src/Runner.Listener/{CommandSettings,Runner}.cs`,
//! `src/Runner.Worker/{JobExtension,JobHookProvider}.cs`, `src/Runner.Common/Constants.cs`. It runs `run:`
//! steps only.

mod configure;
mod job;
mod listen;
mod options;
mod root;
mod wire;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::ExitCode};

use anyhow::Context as _;

pub const LISTENER: &str = "Runner.Listener";
pub const WORKER: &str = "Runner.Worker";
const VERSION: &str = "2.336.0";

/// The real one's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Success = 0,
    Terminated = 1,
    Retry = 2,
    SessionConflict = 5,
    VersionDeprecated = 7,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// What this process is called as one of both programs; nothing, where it is called otherwise.
pub fn called() -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    match Path::new(&name).file_name()?.to_str()? {
        LISTENER => Some(listener()),
        WORKER => Some(worker()),
        _ => None,
    }
}

/// Write both programs into `folder/bin`: copies of this very program, which looks at its name.
pub fn install(folder: &Path) -> anyhow::Result<()> {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin)?;
    let program = std::env::current_exe()?;
    for name in [LISTENER, WORKER] {
        let target = bin.join(name);
        fs::copy(&program, &target).with_context(|| target.display().to_string())?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// `Runner.Listener`.
pub fn listener() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match options::Options::parse(&arguments) {
        Ok(options) => options,
        Err(why) => {
            println!("{why}");
            return Code::Terminated.into();
        }
    };
    if options.version {
        println!("{VERSION}");
        return Code::Success.into();
    }
    if nix::unistd::geteuid().is_root() && std::env::var_os("RUNNER_ALLOW_RUNASROOT").is_none() {
        println!("Must not run with sudo");
        return Code::Terminated.into();
    }
    let result = match options.verb.as_str() {
        "configure" => configure::configure(&options).map(|()| Code::Success),
        _ => listen::listen(options.once),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            println!("{error:#}");
            Code::Terminated.into()
        }
    }
}

/// `Runner.Worker`: one job, handed over on the standard input.
pub fn worker() -> ExitCode {
    match job::work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
