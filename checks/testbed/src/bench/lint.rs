//! `lint`: how long a repository with a thousand workflow files takes.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, ensure};

use super::figure::Figure;
use crate::scene::program;

const FILES: usize = 1000;
const ROUNDS: usize = 7;

/// A workflow with what takes time: several events, a guard, a matrix, a called workflow, and findings to tell.
const WORKFLOW: &str = "\
name: CI
on:
  push:
  pull_request:
jobs:
  build:
    if: github.event_name == 'push' || github.event.pull_request.head.repo.full_name == github.repository
    strategy:
      matrix:
        system: [x86_64-linux, aarch64-linux]
        include:
          - {system: x86_64-linux, runner: vega}
    runs-on: ${{ matrix.runner || 'ubuntu-latest' }}
    steps:
      - uses: actions/checkout@v4
      - run: |
          echo \"${{ github.event.head_commit.message }}\"
          nix build .#heavy
  call:
    uses: ./.github/workflows/called.yml
    with: {runner: \"${{ vars.RUNNER }}\"}
";
const CALLED: &str = "\
on: {workflow_call: {inputs: {runner: {type: string}}}}
jobs:
  test:
    runs-on: ${{ inputs.runner }}
    steps: [{run: make}]
";

/// Write the thousand files, all but one of which are started by events.
pub fn thousand_workflows(root: &Path) -> anyhow::Result<()> {
    let folder = root.join(".github/workflows");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("called.yml"), CALLED)?;
    for number in 1..FILES {
        fs::write(folder.join(format!("w{number}.yml")), WORKFLOW)?;
    }
    Ok(())
}

pub fn lint() -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    thousand_workflows(folder.path())?;
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let output = Command::new(program()).arg("lint").arg(folder.path()).output()?;
        seconds.push(begin.elapsed().as_secs_f64());
        ensure!(output.status.code() == Some(1), "lint: {}", String::from_utf8_lossy(&output.stderr));
    }
    seconds.sort_by(f64::total_cmp);
    println!("lint, 1000 workflow files: {ROUNDS} rounds, {:.3}-{:.3} s", seconds[0], seconds[ROUNDS - 1]);
    let ours = *seconds.get(ROUNDS / 2).context("no round")?;
    let name = "lint, 1000 workflow files";
    Ok(vec![Figure { name, ours, theirs: 1.0, against: "the bound".to_owned(), unit: "s", bound: 1.0 }])
}
