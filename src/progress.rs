//! What the person (or the program) sees while a command works: one line a step, with its time.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people: a live line a step on a terminal, a plain line a step elsewhere.
    #[default]
    Text,
    /// For programs: one JSON object a line, the last one the result.
    Json,
}

pub struct Progress {
    output: Output,
    live: Option<MultiProgress>,
    /// Steps that go well are not told.
    quiet: bool,
}

/// A step at work. Dropped without [`Step::done`], it shows as failed.
pub struct Step<'a> {
    progress: &'a Progress,
    name: &'static str,
    started: Instant,
    bar: Option<ProgressBar>,
    ended: bool,
}

impl Progress {
    pub fn new(output: Output) -> Self {
        let live = output == Output::Text && std::io::stderr().is_terminal();
        Self { output, live: live.then(MultiProgress::new), quiet: false }
    }

    /// For what does the same again and again: only what goes wrong, and notes.
    pub fn quiet() -> Self {
        Self { output: Output::Text, live: None, quiet: true }
    }

    /// Begin a step; `name` is one of the words of the documentation, `doing` says what happens.
    pub fn step(&self, name: &'static str, doing: &str) -> Step<'_> {
        let bar = self.live.as_ref().map(|live| {
            let bar = live.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("  {spinner} {prefix:9} {wide_msg} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(name);
            bar.set_message(doing.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Step { progress: self, name, started: Instant::now(), bar, ended: false }
    }

    /// Something the person should know, which is no step.
    pub fn note(&self, text: &str) {
        match self.output {
            Output::Json => Self::object(&json!({ "note": text })),
            Output::Text => self.line(&format!("  {text}")),
        }
    }

    /// Lines of source, for people only: programs are told the same in the failure.
    pub fn source(&self, text: &str) {
        if self.output == Output::Text {
            self.line(&format!("\n{text}"));
        }
    }

    /// The command's last word: a sentence for people, an object for programs.
    pub fn result(&self, text: &str, object: &Value) {
        match self.output {
            Output::Json => Self::object(&json!({ "result": object })),
            Output::Text => anstream::println!("{text}"),
        }
    }

    /// A failure for programs; people read it on standard error.
    pub fn failure(message: &str, code: u8) {
        Self::object(&json!({ "error": { "message": message, "exit_code": code } }));
    }

    fn object(object: &Value) {
        let mut out = std::io::stdout().lock();
        // A closed pipe is the reader's choice, not our failure.
        let _ = writeln!(out, "{object}");
        let _ = out.flush();
    }

    fn line(&self, text: &str) {
        match &self.live {
            Some(live) => drop(live.println(text)),
            None => anstream::eprintln!("{text}"),
        }
    }
}

/// Text that came from elsewhere (a job's name, a log's line), without what a terminal would act on.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Step<'_> {
    /// What is happening now, on the live line only.
    pub fn doing(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(printable(text));
        }
    }

    pub fn done(mut self, detail: &str) {
        self.end(true, detail);
    }

    pub fn failed(mut self, why: &str) {
        self.end(false, why);
    }

    fn end(&mut self, ok: bool, detail: &str) {
        self.ended = true;
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if ok && self.progress.quiet {
            return;
        }
        if self.progress.output == Output::Json {
            let seconds = (seconds * 1000.0).round() / 1000.0;
            Progress::object(&json!({ "step": self.name, "ok": ok, "seconds": seconds, "detail": detail }));
            return;
        }
        let (mark, colour) = if ok { ("✓", AnsiColor::Green) } else { ("✗", AnsiColor::Red) };
        let style = Style::new().fg_color(Some(colour.into()));
        let name = self.name;
        let detail = printable(detail);
        let line = format!("  {style}{mark}{style:#} {name:9} {detail} ({seconds:.2} s)");
        self.progress.line(&line);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(false, "failed");
        }
    }
}
