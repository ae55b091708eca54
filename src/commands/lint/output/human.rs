use std::{fmt::Write as _, ops::Range};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};

use super::super::report::{Checked, Landing, Report};
use crate::{
    progress::printable,
    workflow::{Certainty, Fault, FileId, Finding, Hand, Location, Place, Severity},
};

/// The whole report, with the styles of a terminal in it.
pub fn text(report: &Report) -> String {
    let mut text = findings(report);
    for (_, finding, reason) in &report.ignored {
        let _ = writeln!(
            text,
            "ignored: {} ({}): {}",
            printable(&finding.title),
            finding.rule.id,
            printable(reason)
        );
    }
    for idle in &report.idle_ignores {
        let _ = writeln!(text, "note: .vega-lint.toml ignores {}, of which there is none", printable(idle));
    }
    text + &landings(report) + &writers(report) + &summary(report)
}

/// Who else can start a job here: everybody who can push.
fn writers(report: &Report) -> String {
    match accounts(report) {
        Some(accounts) => format!("{accounts} may write to the repository, and so can start jobs here\n"),
        None => String::new(),
    }
}

fn accounts(report: &Report) -> Option<String> {
    // A page of GitHub's has a hundred.
    Some(match report.settings.as_ref()?.writers? {
        1 => "1 account".to_owned(),
        100.. => "100 accounts or more".to_owned(),
        number => format!("{number} accounts"),
    })
}

/// How many jobs land here, and by whose hand at the most.
pub fn landed(report: &Report) -> String {
    let landings = report.landings();
    let Some(hand) = landings.iter().map(|landing| landing.by).max() else {
        return "no job lands here yet".to_owned();
    };
    let jobs =
        if landings.len() == 1 { "1 job lands".to_owned() } else { format!("{} jobs land", landings.len()) };
    let perhaps = landings.iter().filter(|landing| landing.certainty == Certainty::MayReach).count();
    let perhaps = if perhaps > 0 { format!(" ({perhaps} perhaps)") } else { String::new() };
    let accounts = accounts(report).map(|accounts| format!(" ({accounts})")).unwrap_or_default();
    format!("{jobs} here{perhaps}, by the hand of {hand}{accounts}")
}

/// The source with what is wrong in it.
pub fn findings(report: &Report) -> String {
    let renderer = Renderer::styled().decor_style(DecorStyle::Ascii).term_width(120);
    let mut text = String::new();
    for (checked, file, fault) in report.faults() {
        let _ = writeln!(text, "{}\n", renderer.render(&[unread(checked, file, fault)]));
    }
    for (checked, finding) in report.findings() {
        let _ = writeln!(text, "{}\n", renderer.render(&groups(checked, finding)));
    }
    text
}

fn unread<'a>(checked: &'a Checked, file: FileId, fault: &'a Fault) -> Group<'a> {
    let (path, source) = checked.set.source(file);
    let span =
        if fault.span.is_empty() { one_character(source, fault.span.start) } else { fault.span.clone() };
    let window = Window::of(checked, file, [span.clone()]);
    Level::ERROR
        .primary_title("this file cannot be read, and what it lets in is not known")
        .id("unread")
        .element(
            window
                .snippet(&checked.name(path))
                .annotation(AnnotationKind::Primary.span(window.span(&span)).label(printable(&fault.why))),
        )
}

/// A place without width is shown at the character that stands there.
fn one_character(text: &str, at: usize) -> Range<usize> {
    let width = text[at..].chars().next().map_or(0, char::len_utf8);
    at..at + width
}

/// The lines of a file that are shown. The renderer would read the whole file again for every finding.
struct Window<'a> {
    text: &'a str,
    /// Where it begins in the file.
    start: usize,
    line: usize,
}

impl<'a> Window<'a> {
    /// From the first line of these places to the last.
    fn of(checked: &'a Checked, file: FileId, spans: impl IntoIterator<Item = Range<usize>>) -> Self {
        let (_, source) = checked.set.source(file);
        let lines = checked.set.lines(file);
        let (first, last) = spans
            .into_iter()
            .fold((source.len(), 0), |(first, last), span| (first.min(span.start), last.max(span.end)));
        let (line, _) = lines.line_and_column(source, first);
        let start = lines.start(line);
        Self { text: &source[start..lines.end(source, last).max(start)], start, line }
    }

    fn snippet(&self, path: &str) -> Snippet<'a, Annotation<'a>> {
        Snippet::source(self.text).line_start(self.line).path(printable(path))
    }

    /// A place of the file in the window.
    fn span(&self, of_file: &Range<usize>) -> Range<usize> {
        of_file.start - self.start..of_file.end - self.start
    }
}

fn groups<'a>(checked: &'a Checked, finding: &'a Finding) -> Vec<Group<'a>> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(printable(&finding.title)).id(finding.rule.id);
    let mut group = match &finding.location {
        Location::File(place) => title.elements(snippets(checked, place, finding)),
        Location::Setting(address) => {
            title.element(Level::NOTE.message(format!("the setting is at {address}")))
        }
    };
    for help in &finding.help {
        group = group.element(Level::HELP.message(printable(help)));
    }
    if let Some(fix) = &finding.fix {
        group = group.element(Level::HELP.message(format!("`--fix` will {}", printable(&fix.does))));
    }
    vec![group]
}

/// The files that a finding is about, its own first.
fn snippets<'a>(
    checked: &'a Checked,
    place: &Place,
    finding: &'a Finding,
) -> Vec<Snippet<'a, Annotation<'a>>> {
    let mut files = vec![place.file];
    files.extend(finding.related.iter().map(|(related, _)| related.file));
    let mut seen = Vec::new();
    files.retain(|file| {
        !seen.contains(file) && {
            seen.push(*file);
            true
        }
    });
    files
        .into_iter()
        .map(|file| {
            let (path, source) = checked.set.source(file);
            let own = Some((AnnotationKind::Primary, place, &finding.label));
            let related =
                finding.related.iter().map(|(place, label)| (AnnotationKind::Context, place, label));
            let marks: Vec<_> = own
                .into_iter()
                .chain(related)
                .filter(|(_, place, _)| place.file == file)
                .map(|(kind, place, label)| (kind, first_line(source, place), label))
                .collect();
            let window = Window::of(checked, file, marks.iter().map(|(_, span, _)| span.clone()));
            let marks = marks
                .into_iter()
                .map(|(kind, span, label)| kind.span(window.span(&span)).label(printable(label)));
            window.snippet(&checked.name(path)).annotations(marks)
        })
        .collect()
}

/// Of a place over many lines the first one is enough to find it.
fn first_line(source: &str, place: &Place) -> Range<usize> {
    let line = source[place.span()].lines().next().map_or(0, str::len);
    if line == 0 { one_character(source, place.start) } else { place.start..place.start + line }
}

/// The jobs that come here, one a line.
fn landings(report: &Report) -> String {
    let landings = report.landings();
    if landings.is_empty() {
        return format!("no job lands on a runner with the labels {}\n", report.labels);
    }
    let places: Vec<String> =
        landings.iter().map(|landing| format!("{}:{}", printable(&name(landing)), landing.line)).collect();
    let width = places.iter().map(|place| place.chars().count()).max().unwrap_or(0);
    let jobs = landings.iter().map(|landing| printable(&landing.job).chars().count()).max().unwrap_or(0);
    let mut text = format!("jobs that land on a runner with the labels {}:\n", report.labels);
    for (landing, place) in landings.iter().zip(places) {
        let job = printable(&landing.job);
        let _ = writeln!(text, "  {place:width$}  {job:jobs$}  {}", how(landing));
    }
    text
}

fn name(landing: &Landing) -> String {
    match landing.branches.as_slice() {
        [] => landing.file.clone(),
        [branch] => format!("{branch}:{}", landing.file),
        [branch, others @ ..] => format!("{branch} (and {} more):{}", others.len(), landing.file),
    }
}

fn how(landing: &Landing) -> String {
    let may = if landing.certainty == Certainty::MayReach { "perhaps, " } else { "" };
    let who = match landing.by {
        Hand::Clock => "by the clock",
        Hand::Writer => "by whoever may write",
        Hand::Stranger => "by anyone",
    };
    format!("{may}{who}: {}", printable(&landing.events.join(", ")))
}

fn summary(report: &Report) -> String {
    let count = |number: usize, what: &str| match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{number} {what}s")),
    };
    let counts: Vec<String> = [
        count(report.faults().count(), "unread file"),
        count(report.count(Severity::Error), "error"),
        count(report.count(Severity::Warning), "warning"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mendable = report.findings().filter(|(_, finding)| finding.fix.is_some()).count();
    let fixable = if mendable > 0 { format!(", {mendable} of which `--fix` mends") } else { String::new() };
    if counts.is_empty() {
        "nothing to say against them\n".to_owned()
    } else {
        format!("{}{fixable}; `vega-builder lint --explain RULE` tells why\n", counts.join(", "))
    }
}
