//! Without a registration: waiting for a token, and what becomes of it.

use std::time::Duration;

use super::{
    super::{Registration, say, stop, token},
    Supervisor, TICK,
};
use crate::{contract::Phase, value::RegistrationToken};

/// Between two looks at a token's file that is of no use.
const BAD_TOKEN_PAUSE: Duration = Duration::from_secs(30);

impl Supervisor<'_> {
    /// Wait for a token, and use it; whether there is a registration now (no: told to stop).
    pub(super) fn register(&mut self, registration: &Registration<'_>) -> Result<bool, String> {
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
