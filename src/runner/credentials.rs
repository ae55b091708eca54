//! Secrets that are handed to PID 1 as variables or files of their own, as the image's contract allows. What
//! came as a variable is moved out of the environment, which stays in /proc for as long as a process lives.

use std::{
    env, fs,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::sys::memfd::{MFdFlags, memfd_create};
use zeroize::Zeroizing;

use super::{children, jit::JitConfig, say, token::take, user};
use crate::{contract::env as names, value::RegistrationToken};

/// Run this program anew without the secret variables; each goes on as a file in memory, named by the
/// contract's own `_FILE` variable. Nothing happens when there are none.
pub fn hide() -> io::Result<()> {
    let secrets = [
        (names::TOKEN, names::TOKEN_FILE),
        (names::PAT, names::PAT_FILE),
        (names::JIT_CONFIG, names::JIT_CONFIG_FILE),
    ];
    if !secrets.iter().any(|(variable, _)| env::var_os(variable).is_some()) {
        return Ok(());
    }
    let mut again = Command::new("/proc/self/exe");
    again.args(env::args_os().skip(1));
    let mut kept_open = Vec::new();
    for (variable, file_variable) in secrets {
        again.env_remove(variable);
        // A file is preferred where both are given.
        let file_is_there = env::var_os(file_variable).is_some_and(|path| Path::new(&path).exists());
        if let Some(value) = env::var_os(variable).filter(|value| !value.is_empty() && !file_is_there) {
            // Not closed on exec: it is how the secret gets across.
            let mut memory = fs::File::from(memfd_create(c"secret", MFdFlags::empty())?);
            memory.write_all(value.as_encoded_bytes())?;
            again.env(file_variable, format!("/proc/self/fd/{}", memory.as_raw_fd()));
            kept_open.push(memory);
        }
    }
    Err(again.exec())
}

/// GitHub's reply is waited for no longer.
const MINTING: Duration = Duration::from_secs(120);

/// What was handed in besides the token file that a host's `register` writes; in our memory alone.
#[derive(Default)]
pub struct Credentials {
    token: Option<RegistrationToken>,
    personal: Option<Zeroizing<String>>,
    /// Everything that a runner of one job needs, in the place of both.
    pub jit: Option<JitConfig>,
}

impl Credentials {
    /// Take them before any other process is started: their files are empty or gone afterwards.
    pub fn take() -> anyhow::Result<Self> {
        let mut credentials = Self::default();
        let file = |name: &str| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        // The token file proper is read when a token is needed, again and again; one in memory only once.
        if let Some(path) = file(names::TOKEN_FILE).filter(|path| path.starts_with("/proc")) {
            credentials.token = take(&path)?.map(|text| RegistrationToken::new(text.trim()));
        }
        if let Some(path) = file(names::PAT_FILE) {
            credentials.personal = take(&path)?;
        }
        if let Some(path) = file(names::JIT_CONFIG_FILE) {
            credentials.jit = take(&path)?.map(|text| JitConfig::parse(&text)).transpose()?;
        }
        Ok(credentials)
    }

    /// A variable of the image's contract; for whom the runner is, a just-in-time configuration says first.
    pub fn variable(&self, name: &str) -> Option<String> {
        let said = self.jit.as_ref().and_then(|jit| jit.variable(name));
        said.or_else(|| env::var(name).ok())
    }

    /// The registration token that was handed in, or one minted with a personal access token, which is
    /// dropped with this: the contract's fallback for trusted local use.
    pub fn into_token(self) -> anyhow::Result<Option<RegistrationToken>> {
        let Some(personal) = self.personal.filter(|_| self.token.is_none()) else { return Ok(self.token) };
        say("WARNING: a personal access token was handed in (GITHUB_PAT): for trusted local use only");
        let mut minting = Command::new(user::this_program());
        let output = children::output_of(minting.arg("mint"), personal.as_bytes(), MINTING)?;
        let (said, told) = (Zeroizing::new(output.stdout), String::from_utf8_lossy(&output.stderr));
        let why = told.lines().next_back().unwrap_or("no reason given");
        anyhow::ensure!(output.status.success(), "no registration token could be minted: {why}");
        Ok(Some(RegistrationToken::new(std::str::from_utf8(&said)?.trim())))
    }
}
