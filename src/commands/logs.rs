//! `logs`: what a runner said, and what pushes its builds.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    process::{Command, ExitCode, Stdio},
    thread,
};

use anyhow::{Context as _, bail};

use crate::{
    engine::{self, pusher_name},
    installation::{Installation, Places},
    progress::printable,
    secrecy, systemd,
};

/// Show what a runner said
///
/// From its container, or, where a unit makes that, from the journal, with what `prepare` and `prove` said of each start.
/// What would move a terminal's cursor is shown as what it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vega-builder logs --follow
  vega-builder logs octo-org/heavy-builds --lines 50
  vega-builder logs --uploads")]
pub struct Logs {
    /// The runner's name, its repository or its organisation, when several are installed here
    #[arg(value_name = "NAME|OWNER/REPO|ORGANIZATION")]
    runner: Option<String>,
    /// Go on with what comes, until ^C
    #[arg(long, short)]
    follow: bool,
    /// The last lines alone
    #[arg(long, short = 'n', value_name = "NUMBER")]
    lines: Option<u32>,
    /// Those of what pushes its builds, instead of the runner's
    #[arg(long)]
    uploads: bool,
}

impl Logs {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let installation = Places::standard().find(self.runner.as_deref())?;
        let mut command = if installation.is_declared() {
            self.of_unit(&installation)
        } else {
            self.of_container(&installation)?
        };
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| name.clone())?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        // An engine gives the container's two streams as two.
        let other = thread::spawn(move || err.map_or(Ok(()), |err| copy(err, std::io::stdout())));
        out.map_or(Ok(()), |out| copy(out, std::io::stdout()))?;
        let _ = other.join();
        let status = child.wait()?;
        if !status.success() {
            bail!(
                "{name} ended with {status}; `vega-builder status {}` tells how the runner is",
                installation.name
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn of_unit(&self, installation: &Installation) -> Command {
        let unit = if self.uploads {
            systemd::pusher_service_name(&installation.name)
        } else {
            systemd::service_name(&installation.name)
        };
        let mut command = secrecy::command("journalctl");
        command.args(["--no-pager", "--output=short-iso", "--unit", &unit]);
        command.args(self.follow.then_some("--follow"));
        command.args(self.lines.map(|lines| format!("--lines={lines}")));
        command
    }

    fn of_container(&self, installation: &Installation) -> anyhow::Result<Command> {
        let record = installation.record()?.context("the record is gone")?;
        // Asked first, so that a missing engine is told as elsewhere.
        let engine = engine::detect(Some(&record.engine))?;
        let container =
            if self.uploads { pusher_name(&installation.name) } else { installation.name.to_string() };
        if self.uploads && engine.inspect(&container)?.is_none() {
            bail!(
                "nothing pushes the builds of {}: `vega-builder up` with --cache-to has it done",
                installation.name
            );
        }
        let mut command = secrecy::command(engine.program());
        command.args(["logs", "--timestamps"]);
        command.args(self.follow.then_some("--follow"));
        command.args(self.lines.map(|lines| format!("--tail={lines}")));
        command.arg(container);
        Ok(command)
    }
}

/// Line by line, as they come; a reader that goes away ends it.
fn copy(from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        // At once: the other stream's lines do not come between.
        to.write_all(format!("{}\n", printable(text.trim_end_matches(['\n', '\r']))).as_bytes())?;
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::copy;

    #[test]
    fn what_a_runner_says_moves_no_cursor_and_ends_no_line() {
        let mut shown = Vec::new();
        copy(&b"one\x1b[2J\x1b]0;x\x07\r\ntwo\rthree\xff"[..], &mut shown).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), "one [2J ]0;x \ntwo three\u{fffd}\n");
    }
}
