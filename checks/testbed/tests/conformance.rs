//! Sigstore's public conformance suite, asked as the suite asks: by its command line.

use std::{fs, process::Command};

use sha2::{Digest as _, Sha256};
use testbed::{
    conformance::{CASES, Case},
    scene::program,
};

fn accepts(case: &Case, artifact: &str) -> (bool, String) {
    let mut command = Command::new(program());
    let output = command.args(case.arguments(artifact)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // A crash is no judgement.
    assert!(matches!(output.status.code(), Some(0 | 2 | 3)), "{}: {:?} {said}", case.name, output.status);
    assert!(!said.contains("panicked"), "{}: {said}", case.name);
    (output.status.success(), said)
}

#[test]
fn every_case_of_the_public_conformance_suite_is_judged_right() {
    let Some(cases) = Case::all().unwrap() else { return };
    assert_eq!(cases.len(), CASES);
    let mut wrong = Vec::new();
    for case in &cases {
        let (accepted, said) = accepts(case, &case.artifact.display().to_string());
        println!("{} {}: {}", if accepted { "accepted" } else { "refused " }, case.name, said.trim());
        if accepted == case.is_bad() {
            wrong.push(format!("{}: accepted {accepted}: {}", case.name, said.trim()));
        }
    }
    assert!(wrong.is_empty(), "{} of {CASES}: {wrong:#?}", wrong.len());
}

#[test]
fn a_digest_in_place_of_the_file_is_judged_the_same() {
    let Some(cases) = Case::all().unwrap() else { return };
    let mut wrong = Vec::new();
    for case in &cases {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(fs::read(&case.artifact).unwrap())));
        let (accepted, said) = accepts(case, &digest);
        if accepted == case.is_bad() {
            wrong.push(format!("{}: accepted {accepted}: {}", case.name, said.trim()));
        }
    }
    assert!(wrong.is_empty(), "{} of {CASES}: {wrong:#?}", wrong.len());
}
