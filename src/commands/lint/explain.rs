//! `--explain`: what a rule looks for, why, an example, and the remedy.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::bail;

use crate::workflow::{Rule, Severity, rules};

pub fn explain(wanted: &str) -> anyhow::Result<ExitCode> {
    let chosen: Vec<&Rule> = rules().filter(|rule| wanted == "all" || rule.id == wanted).collect();
    if chosen.is_empty() {
        let all: Vec<&str> = rules().map(|rule| rule.id).collect();
        bail!("there is no rule '{wanted}'; there are {}", all.join(", "));
    }
    let pages: Vec<String> = chosen.into_iter().map(page).collect();
    super::output::say(&pages.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn page(rule: &Rule) -> String {
    let severity = match rule.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut page = format!("{} ({severity})\n{}.\n\n{}\n", rule.id, rule.summary, wrapped(rule.why));
    for (title, text) in [("Found in", rule.example), ("Not found in", rule.remedy)] {
        let _ = write!(page, "\n{title}:\n\n");
        for line in text.lines() {
            let _ = writeln!(page, "    {line}");
        }
    }
    page
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= 80 || line.is_empty() => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
