//! On a real machine: systemd, cgroup v2, podman and docker, a reboot, a power cut. checks/vm/play plays the scenarios; what
//! came of them is told here.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use testbed::{layout, scenario::Description, scene::program};

/// The end of what a life left in a file.
fn last_lines(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[test]
fn machine_scenarios_of_installed_runners() {
    let folder = tempfile::Builder::new().tempdir_in(layout::project().join("target")).unwrap();
    let status = Command::new(layout::project().join("checks/vm/play"))
        .arg("--program")
        .arg(program())
        .args(["--player", env!("CARGO_BIN_EXE_scenario")])
        .arg("--image")
        .arg(layout::demo_image())
        .arg("--out")
        .arg(folder.path())
        .status()
        .unwrap();
    let told = fs::read_to_string(folder.path().join("told")).unwrap_or_default();
    println!("{told}");
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (skipped, told): (Vec<Value>, Vec<Value>) = told.into_iter().partition(|one| one["skipped"] == true);
    let report = layout::project().join("target/checks/scenarios.json");
    let mut rows = scenarios(&told);
    rows["skipped"] = skipped.iter().map(|one| one["name"].clone()).collect();
    fs::write(&report, serde_json::to_string_pretty(&rows).unwrap()).unwrap();
    let failed: Vec<&Value> = told.iter().filter(|one| one["ok"] != true).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    if !status.success() {
        let lives: Vec<_> = (0..3).map(|life| folder.path().join(format!("life-{life}"))).collect();
        let life = lives.iter().rfind(|life| life.exists()).expect("no life began");
        let (console, journal) = (last_lines(&life.join("console")), last_lines(&life.join("journal")));
        panic!("{status}\n{console}\n{journal}");
    }
    let all = Description::all(&layout::project().join("checks/scenarios")).unwrap();
    let boots: usize = all.iter().map(|one| one.boot.len() * one.engines.len()).sum();
    assert_eq!(told.len() + skipped.len(), boots, "not every boot of every scenario was played");
    let long = |one: &Value| all.iter().any(|it| it.long && one["name"] == *it.name);
    assert!(skipped.iter().all(long), "{skipped:#?}");
}

/// A line for each scenario and engine, its boots taken together, and what was measured.
fn scenarios(told: &[Value]) -> Value {
    let mut rows: Vec<Value> = Vec::new();
    let mut figures = Vec::new();
    for one in told {
        for figure in one["figures"].as_array().into_iter().flatten() {
            let name = format!(
                "{}, {} ({})",
                figure[0].as_str().unwrap(),
                one["name"].as_str().unwrap(),
                one["engine"].as_str().unwrap()
            );
            figures.push(json!({ "name": name, "ours": figure[1], "unit": "s" }));
        }
        let seconds = one["seconds"].as_f64().unwrap();
        let same = |row: &&mut Value| row["name"] == one["name"] && row["engine"] == one["engine"];
        match rows.iter_mut().find(same) {
            Some(row) => {
                row["seconds"] = json!(row["seconds"].as_f64().unwrap() + seconds);
                row["ok"] = json!(row["ok"] == true && one["ok"] == true);
                if row["why"] == "" {
                    row["why"] = json!(one["why"].as_str().unwrap_or_default());
                }
            }
            None => rows.push(json!({
                "name": one["name"], "title": one["title"], "engine": one["engine"], "seconds": seconds,
                "ok": one["ok"], "why": one["why"].as_str().unwrap_or_default(),
            })),
        }
    }
    json!({ "scenarios": rows, "figures": figures })
}
