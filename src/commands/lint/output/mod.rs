//! How findings are told: to people, and to three kinds of programs.

mod annotations;
mod human;
mod json;
mod sarif;

pub use human::{findings, landed};

use std::io::{self, Write as _};

use anyhow::Context as _;

use super::report::Report;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// The source with what is wrong in it, as a compiler shows it
    #[default]
    Human,
    /// One object with everything that is known
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of a workflow's run at GitHub
    #[value(name = "github")]
    GitHub,
}

pub fn write(report: &Report, format: Format) -> anyhow::Result<()> {
    say(&match format {
        Format::Human => human::text(report),
        Format::Json => serde_json::to_string_pretty(&json::object(report))? + "\n",
        Format::Sarif => serde_json::to_string_pretty(&sarif::log(report))? + "\n",
        Format::GitHub => annotations::lines(report),
    })
}

/// Write to standard output, with styles only where a terminal shows them.
pub fn say(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Who reads no further has read enough.
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("the report cannot be written"),
    }
}
