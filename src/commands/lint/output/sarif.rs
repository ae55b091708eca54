//! SARIF 2.1.0, as GitHub's code scanning takes it.
//!
//! Source: <https://docs.github.com/code-security/reference/code-scanning/sarif-support-for-code-scanning>

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::super::report::{Checked, Report};
use crate::workflow::{Edit, FileId, Finding, Location, Place, Rule, Severity, rules};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub fn log(report: &Report) -> Value {
    let faults: Vec<Value> = report
        .faults()
        .map(|(checked, file, fault)| {
            let place = Place { file, start: fault.span.start, end: fault.span.end };
            json!({
                "level": "error",
                "message": { "text": fault.why },
                "locations": [{ "physicalLocation": physical(checked, &place) }],
            })
        })
        .collect();
    let results: Vec<Value> = report
        .findings()
        .map(|(checked, finding)| result(checked, finding, None))
        .chain(
            report
                .ignored
                .iter()
                .map(|(checked, finding, reason)| result(&report.checked[*checked], finding, Some(reason))),
        )
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "vega-builder",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules().map(described).collect::<Vec<_>>(),
            } },
            "invocations": [{
                "executionSuccessful": faults.is_empty(),
                "toolExecutionNotifications": faults,
            }],
            "results": results,
            "columnKind": "unicodeCodePoints",
        }],
    })
}

fn described(rule: &Rule) -> Value {
    let (level, score) = match rule.severity {
        // Code scanning calls 9.0 and above critical.
        Severity::Error => ("error", "9.0"),
        Severity::Warning => ("warning", "5.0"),
    };
    json!({
        "id": rule.id,
        "shortDescription": { "text": format!("{}.", rule.summary) },
        "fullDescription": { "text": rule.why },
        "help": {
            "text": format!("{}\n\nFound in:\n\n{}\nNot found in:\n\n{}", rule.why, rule.example, rule.remedy),
            "markdown": format!(
                "{}\n\nFound in:\n\n```yaml\n{}```\n\nNot found in:\n\n```yaml\n{}```\n",
                rule.why, rule.example, rule.remedy
            ),
        },
        "defaultConfiguration": { "level": level },
        "properties": { "tags": ["security"], "security-severity": score },
    })
}

fn result(checked: &Checked, finding: &Finding, ignored: Option<&str>) -> Value {
    let text: Vec<&str> =
        std::iter::once(finding.title.as_str()).chain(finding.help.iter().map(String::as_str)).collect();
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let index = rules().position(|rule| rule == finding.rule);
    let locations = match &finding.location {
        Location::File(place) => json!([{ "physicalLocation": physical(checked, place) }]),
        Location::Setting(address) => json!([{
            "physicalLocation": { "artifactLocation": { "uri": address } },
        }]),
    };
    let related: Vec<Value> = finding
        .related
        .iter()
        .enumerate()
        .map(|(number, (place, label))| {
            json!({ "id": number + 1, "message": { "text": label }, "physicalLocation": physical(checked, place) })
        })
        .collect();
    let mut result = json!({
        "ruleId": finding.rule.id,
        "level": level,
        "message": { "text": text.join(". ") },
        "locations": locations,
        "relatedLocations": related,
    });
    if let Some(index) = index {
        result["ruleIndex"] = json!(index);
    }
    if let Some(fix) = &finding.fix {
        let (path, _) = checked.set.source(fix.file);
        let replacements: Vec<Value> =
            fix.edits.iter().map(|edit| replacement(checked, fix.file, edit)).collect();
        result["fixes"] = json!([{
            "description": { "text": fix.does },
            "artifactChanges": [{ "artifactLocation": { "uri": uri(path) }, "replacements": replacements }],
        }]);
    }
    if let Some(reason) = ignored {
        result["suppressions"] = json!([{ "kind": "external", "justification": reason }]);
    }
    result
}

fn physical(checked: &Checked, place: &Place) -> Value {
    let (path, _) = checked.set.source(place.file);
    json!({
        "artifactLocation": { "uri": uri(path) },
        "region": region(checked, place),
    })
}

fn region(checked: &Checked, place: &Place) -> Value {
    let (line, column) = checked.set.line_and_column(place.file, place.start);
    let (end_line, end_column) = checked.set.line_and_column(place.file, place.end);
    json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column })
}

fn replacement(checked: &Checked, file: FileId, edit: &Edit) -> Value {
    json!({
        "deletedRegion": region(checked, &Place::of(file, &edit.range)),
        "insertedContent": { "text": edit.text },
    })
}

/// A path as a relative URI (RFC 3986, section 3.3).
fn uri(path: &str) -> String {
    const NOT_IN_A_PATH: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(path, NOT_IN_A_PATH).to_string()
}
