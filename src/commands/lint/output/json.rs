use serde_json::{Value, json};

use super::super::report::{Checked, Report};
use crate::workflow::{Finding, Place};

pub fn object(report: &Report) -> Value {
    let unread: Vec<Value> = report
        .faults()
        .map(|(checked, file, fault)| {
            let place = Place { file, start: fault.span.start, end: fault.span.end };
            let mut object = at(checked, &place);
            object["why"] = json!(fault.why);
            object
        })
        .collect();
    let ignored: Vec<Value> = report
        .ignored
        .iter()
        .map(|(checked, finding, reason)| {
            let mut object = told(&report.checked[*checked], finding);
            object["reason"] = json!(reason);
            object
        })
        .collect();
    json!({
        "labels": report.labels.split(',').collect::<Vec<_>>(),
        "settings": report.settings,
        "jobs": report.landings(),
        "findings": report.findings().map(|(checked, finding)| told(checked, finding)).collect::<Vec<_>>(),
        "unread": unread,
        "ignored": ignored,
    })
}

fn told(checked: &Checked, finding: &Finding) -> Value {
    let mut object = match &finding.location {
        crate::workflow::Location::File(place) => at(checked, place),
        crate::workflow::Location::Setting(address) => json!({ "setting": address }),
    };
    let related: Vec<Value> = finding
        .related
        .iter()
        .map(|(place, label)| {
            let mut object = at(checked, place);
            object["label"] = json!(label);
            object
        })
        .collect();
    object["rule"] = json!(finding.rule.id);
    object["severity"] = json!(finding.severity);
    object["title"] = json!(finding.title);
    object["label"] = json!(finding.label);
    object["help"] = json!(finding.help);
    object["related"] = json!(related);
    object["fix"] = json!(finding.fix.as_ref().map(|fix| &fix.does));
    object
}

fn at(checked: &Checked, place: &Place) -> Value {
    let (path, _) = checked.set.source(place.file);
    let (line, column) = checked.set.line_and_column(place.file, place.start);
    let mut object = json!({ "file": path, "line": line, "column": column });
    if !checked.branches.is_empty() {
        object["branches"] = json!(checked.branches);
    }
    object
}
