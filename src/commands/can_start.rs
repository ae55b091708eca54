//! `can-start`: a runner's unit asks it before everything else, so that it does not start in vain.

use std::process::ExitCode;

use super::steps::declared::Declared;
use crate::installation::{Error, Places};

/// Say whether a runner is to start: that it is not drained, and, when it is declared, has a registration or a way to one
///
/// The unit's ExecCondition: exit code 0, it is; 1, it is not, and one line says what to type. The unit then waits
/// without failing, and its path unit starts it when `register` has brought a token. 255: it cannot be told, and the unit
/// fails.
#[derive(Debug, clap::Args)]
pub struct CanStart {
    #[arg(value_name = "NAME")]
    runner: String,
}

/// For systemd: not "skip this", but "this failed", which is tried again.
const FAILED: u8 = 255;

impl CanStart {
    pub fn run(&self) -> ExitCode {
        match self.lacks() {
            Ok(None) => ExitCode::SUCCESS,
            Ok(Some(lacks)) => {
                eprintln!("vega-builder: {lacks}");
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("vega-builder: {error:#}");
                ExitCode::from(FAILED)
            }
        }
    }

    fn lacks(&self) -> anyhow::Result<Option<String>> {
        let installation = Places::standard().find(Some(&self.runner))?;
        if let Err(drained @ Error::Drained { .. }) = installation.expect_not_drained() {
            // After a power cut an engine's daemon may have started it all the same, and this boot has no word of the drain.
            installation.drain()?;
            return Ok(Some(drained.to_string()));
        }
        if !installation.is_declared() {
            return Ok(None);
        }
        Declared::read(&installation)?.lacks(&installation)
    }
}
