//! How findings are told: to people, and to three kinds of programs.

mod annotations;
mod human;
mod json;
mod sarif;

pub use human::{findings, landed};

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
    match format {
        Format::Human => anstream::print!("{}", human::text(report)),
        Format::Json => println!("{}", serde_json::to_string_pretty(&json::object(report))?),
        Format::Sarif => println!("{}", serde_json::to_string_pretty(&sarif::log(report))?),
        Format::GitHub => print!("{}", annotations::lines(report)),
    }
    Ok(())
}
