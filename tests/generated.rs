//! What is generated from the command tree: completions that shells read, pages that man reads.

use std::{
    fs,
    process::{Command, Stdio},
};

/// What people type.
const VERBS: [&str; 17] = [
    "up",
    "install",
    "verify",
    "lint",
    "register",
    "status",
    "prepare",
    "down",
    "uninstall",
    "push",
    "login",
    "logout",
    "provenance",
    "serve",
    "logs",
    "completions",
    "man",
];

fn vega_builder(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vega-builder"));
    command.args(arguments).stdin(Stdio::null());
    command
}

#[test]
fn bash_reads_the_completions_and_they_name_every_verb() {
    let output = vega_builder(&["completions", "bash"]).output().unwrap();
    assert!(output.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vega-builder");
    fs::write(&file, &output.stdout).unwrap();
    // bash itself parses them, and completes a verb by them.
    let script = format!(
        ". {}; COMP_WORDS=(vega-builder reg); COMP_CWORD=1; \
         complete -p vega-builder | grep -o -- '-F [^ ]*' | {{ read -r _ function; \
         $function vega-builder reg vega-builder; echo \"${{COMPREPLY[@]}}\"; }}",
        file.display()
    );
    let completed = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "register");
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("entrypoint"),
        "a verb of the image is offered"
    );
    for shell in ["zsh", "fish"] {
        let text = vega_builder(&["completions", shell]).output().unwrap().stdout;
        assert!(String::from_utf8_lossy(&text).contains("register"), "{shell}");
    }
}

#[test]
fn every_verb_has_a_page_with_an_example_and_hidden_ones_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man/man1");
    let output = vega_builder(&["man"]).arg(&pages).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for verb in VERBS {
        let page = fs::read_to_string(pages.join(format!("vega-builder-{verb}.1"))).unwrap();
        assert!(page.contains("Examples:") && page.contains(&format!("vega\\-builder {verb}")), "{verb}");
    }
    assert!(pages.join("vega-builder.1").exists());
    for hidden in [
        "entrypoint",
        "host-runner",
        "host-view",
        "as-runner",
        "seed",
        "mint",
        "can-start",
        "prove",
        "pusher",
        "describe-builds",
    ] {
        assert!(!pages.join(format!("vega-builder-{hidden}.1")).exists(), "{hidden}");
    }
}

#[test]
fn every_verbs_help_has_an_example() {
    for verb in VERBS {
        let output = vega_builder(&[verb, "--help"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Examples:") && text.contains("vega-builder "), "{verb}: {text}");
    }
}
