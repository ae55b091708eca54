use std::process::ExitCode;

use clap::Parser as _;
use vega_builder::{
    cli::Cli,
    commands::built::Built,
    contract, exit,
    progress::{Output, Progress, printable},
};

fn main() -> ExitCode {
    // Nix calls a hook by one name, without a word more.
    let called = std::env::args_os().next();
    if called.is_some_and(|name| name == contract::POST_BUILD_HOOK) {
        return Built {}.run();
    }
    let cli = Cli::parse();
    let output = cli.output();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            let (message, code) = (format!("{error:#}"), exit::kind(&error) as u8);
            if output == Output::Json {
                Progress::failure(&message, code);
            }
            // What a registry or a stranger's signature said may be in it.
            anstream::eprintln!("vega-builder: {}", printable(&message));
            ExitCode::from(code)
        }
    }
}
