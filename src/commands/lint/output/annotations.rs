//! Workflow commands, which GitHub shows beside the lines of a change.
//!
//! Source: <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>

use std::fmt::Write as _;

use super::super::report::{Checked, Report};
use crate::workflow::{Finding, Place, Severity};

pub fn lines(report: &Report) -> String {
    let mut text = String::new();
    for (checked, file, fault) in report.faults() {
        let place = Place { file, start: fault.span.start, end: fault.span.end };
        let properties = properties(checked, &place, "unread");
        let _ = writeln!(text, "::error {properties}::{}", message(&fault.why));
    }
    for (checked, finding) in report.findings() {
        let _ = writeln!(text, "{}", line(checked, finding));
    }
    text
}

fn line(checked: &Checked, finding: &Finding) -> String {
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let properties = match &finding.location {
        crate::workflow::Location::File(place) => properties(checked, place, finding.rule.id),
        crate::workflow::Location::Setting(_) => format!("title={}", finding.rule.id),
    };
    let told = [&finding.title, &finding.label].into_iter().chain(&finding.help);
    let told: Vec<&str> = told.map(String::as_str).filter(|text| !text.is_empty()).collect();
    format!("::{command} {properties}::{}", message(&told.join("\n")))
}

fn properties(checked: &Checked, place: &Place, title: &str) -> String {
    let (path, _) = checked.set.source(place.file);
    let (line, column) = checked.set.line_and_column(place.file, place.start);
    let (end_line, end_column) = checked.set.line_and_column(place.file, place.end);
    let path = property(path);
    if end_line == line && end_column > column {
        format!(
            "file={path},line={line},endLine={end_line},col={column},endColumn={end_column},title={title}"
        )
    } else {
        format!("file={path},line={line},col={column},title={title}")
    }
}

/// The log that these are written to is read on terminals too.
fn message(text: &str) -> String {
    let text: String =
        text.chars().map(|c| if c.is_control() && !"\r\n".contains(c) { ' ' } else { c }).collect();
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{message, property};

    #[test]
    fn a_files_name_or_text_starts_no_command_of_its_own() {
        assert_eq!(message("a\n::error::b%"), "a%0A::error::b%25");
        assert_eq!(property("a,line=1::x\n"), "a%2Cline=1%3A%3Ax%0A");
    }
}
