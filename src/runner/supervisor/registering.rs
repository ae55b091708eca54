//! Without a registration: waiting for a token or a just-in-time configuration, and what becomes of it.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{JitConfig, Registration, say, stop, token},
    Supervisor, TICK,
};
use crate::{
    contract::{Phase, env},
    value::RegistrationToken,
};

/// Between two looks at a token's file that is of no use.
const BAD_TOKEN_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks for a configuration: a job may wait for it.
const HANDED_OVER: Duration = Duration::from_millis(20);

impl Supervisor<'_> {
    /// Wait for what makes a registration; whether there is one now (no: told to stop).
    pub(super) fn register(&mut self, registration: &Registration<'_>) -> Result<bool, String> {
        match &self.environment.jit_file {
            Some(file) => self.adopt(registration, file),
            None => self.configure(registration),
        }
    }

    /// Wait for a just-in-time configuration. All that a boot takes time for has been done by now.
    fn adopt(&mut self, registration: &Registration<'_>, file: &Path) -> Result<bool, String> {
        self.report.enter(Phase::Warm, "it waits for a just-in-time configuration");
        let mut looked_after = Instant::now();
        while !stop::ordered() {
            if let Some(text) = token::take(file).map_err(|error| error.to_string())? {
                let jit = JitConfig::parse(&text).map_err(|error| error.to_string())?;
                let named = jit.variable(env::RUNNER_NAME).unwrap_or_default();
                if named != self.environment.name.as_str() {
                    return Err(format!(
                        "the just-in-time configuration is for the runner '{}', and not for {}",
                        named.escape_default(),
                        self.environment.name
                    ));
                }
                registration.adopt_jit(&jit).map_err(|error| error.to_string())?;
                return Ok(true);
            }
            if looked_after.elapsed() > TICK {
                self.look_after()?;
                looked_after = Instant::now();
            }
            thread::sleep(HANDED_OVER);
        }
        Ok(false)
    }

    /// Wait for a token, and use it; whether there is a registration now (no: told to stop).
    fn configure(&mut self, registration: &Registration<'_>) -> Result<bool, String> {
        let mut message = "no registration is saved: type `vega-builder register` on the host".to_owned();
        let mut told = String::new();
        loop {
            if stop::ordered() {
                return Ok(false);
            }
            let mut pause = TICK / 2;
            match self.next_token() {
                Ok(Some(token)) => {
                    self.report.enter(Phase::Registering, "registering with GitHub");
                    match registration.configure(&token, &self.mask) {
                        Ok(()) => return Ok(true),
                        Err(_) if stop::ordered() => return Ok(false),
                        Err(error) => {
                            message =
                                format!("{error}; type `vega-builder register` on the host for another try");
                        }
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    message = error.to_string();
                    pause = BAD_TOKEN_PAUSE;
                }
            }
            if self.report.phase() != Phase::WaitingForToken || told != message {
                say(&message);
                self.report.enter(Phase::WaitingForToken, &message);
                told.clone_from(&message);
            }
            self.look_after()?;
            stop::rest(pause);
        }
    }

    /// One that came as a variable first: it is here once only.
    fn next_token(&mut self) -> Result<Option<RegistrationToken>, token::TokenError> {
        if let Some(token) = self.token.take() {
            return Ok(Some(token));
        }
        match &self.environment.token_file {
            // A secret that came as a variable was taken from its memory at the start.
            Some(path) if !path.starts_with("/proc") => token::take_token(path),
            _ => Ok(None),
        }
    }
}
