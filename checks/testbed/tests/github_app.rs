//! A GitHub App mints the registration tokens: its key stays on the host, its tokens live for a command.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use aws_lc_rs::{
    encoding::AsDer,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use simulator::github::App;
use testbed::{
    scene::{Scene, succeeded},
    search::Search,
};

const ID: &str = "Iv23liexampleofanapp";

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// An App that is installed in the scene's repository, and its key's file.
fn app(scene: &Scene, repositories: &[&str]) -> PathBuf {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der>::as_der(pair.public_key()).unwrap();
    scene.github.app(App {
        id: ID.to_owned(),
        public_key: pem("PUBLIC KEY", public.as_ref()),
        repositories: repositories.iter().map(|name| (*name).to_owned()).collect(),
    });
    let private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(&pair).unwrap();
    let file = scene.folder.path().join("app.pem");
    fs::write(&file, pem("PRIVATE KEY", private.as_ref())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// Without anybody's login.
fn run(scene: &Scene, arguments: &[&str], key: &Path) -> Output {
    let mut command = scene.command(arguments);
    command.env_remove("GH_TOKEN").env("VEGA_BUILDER_APP_ID", ID).env("VEGA_BUILDER_APP_KEY_FILE", key);
    command.output().unwrap()
}

#[test]
fn podman_an_app_registers_a_runner_and_takes_it_away_and_its_key_stays_on_the_host() {
    let scene = Scene::new("app").unwrap();
    let key = app(&scene, &[&scene.repository]);
    succeeded(&run(&scene, &["up", &scene.repository], &key)).unwrap();
    assert_eq!(scene.github.minted(), 1);
    assert!(scene.job("echo HERE").unwrap().contains("HERE"));

    let text = fs::read_to_string(&key).unwrap();
    let middle = text.lines().nth(5).unwrap();
    for secret in [middle, "ghs_accesstokenoftheapp"] {
        let mut search = Search::new(secret);
        search.container(&scene.engine, &scene.name).unwrap();
        search.container_files(&scene.engine, &scene.name).unwrap();
        search.processes();
        search.files(Path::new("/run/vega-builder"));
        search.files(Path::new("/var/lib/vega-builder"));
        assert!(search.seen.is_empty(), "{:?}", search.seen);
    }

    // Installed with it, the runner is taken away with it: nobody has to name it again.
    let mut down = scene.command(&["down", &scene.name]);
    succeeded(&down.env_remove("GH_TOKEN").env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").output().unwrap())
        .unwrap();
    assert!(scene.github.runners().is_empty());
}

#[test]
fn podman_an_app_that_is_not_what_it_says_is_refused_with_a_sentence() {
    let scene = Scene::new("no-app").unwrap();
    let refused = |key: &Path, code: i32, words: &[&str]| {
        let output = run(&scene, &["up", &scene.repository], key);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is missing in: {said}");
        }
        assert!(!said.contains("BEGIN") && !said.contains("eyJ"), "a secret is in: {said}");
    };
    let foreign = app(&scene, &["octo-org/another"]);
    refused(&foreign, 5, &["looking for the installation of the GitHub App", "(404)", ID]);

    let old = scene.folder.path().join("old.pem");
    fs::copy(&foreign, &old).unwrap();
    app(&scene, &[&scene.repository]);
    refused(&old, 5, &["does not accept the token from the GitHub App", "(401)", "old.pem"]);

    fs::write(&old, "-----BEGIN PRIVATE KEY-----\nno key\n-----END PRIVATE KEY-----\n").unwrap();
    refused(&old, 2, &["private key", "old.pem", "the PEM file that GitHub gave you"]);
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&old, 2, &["readable by others", "chmod 0600"]);
    refused(Path::new("/gone.pem"), 2, &["/gone.pem", "cannot be read"]);
    assert_eq!(scene.github.minted(), 0);
}
