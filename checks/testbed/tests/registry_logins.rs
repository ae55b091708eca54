//! Registries that want to know who asks: the login is found where podman and docker keep it, and goes nowhere else.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::json;
use simulator::{
    fault::{Fault, Kind},
    registry::{Demand, Front},
    sigstore::Identity,
};
use testbed::{
    layout::tiny_image,
    scene::{IMAGE, Scene},
};

const REGISTRY: i32 = 4;
const SETTINGS: i32 = 2;
const LOGIN: &str = "octo:s3cret";
/// `LOGIN` as the files keep it.
const AUTH: &str = "b2N0bzpzM2NyZXQ=";

struct Trial {
    scene: Scene,
    front: Front,
}

impl Trial {
    fn new(name: &str, demand: Demand) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scene = Scene::unsigned(name, &tiny_image(folder.path(), name).unwrap(), "podman").unwrap();
        scene.sign(&Identity::vega()).unwrap();
        let front = Front::of(&scene.registry.address).unwrap();
        front.demand(demand);
        Self { scene, front }
    }

    fn folder(&self) -> &Path {
        self.scene.folder.path()
    }

    fn command(&self) -> Command {
        let image = format!("{}/{IMAGE}:latest", self.front.address());
        let mut command = self.scene.command(&["verify"]);
        command
            .env("VEGA_BUILDER_IMAGE", image)
            .env("HOME", self.folder())
            .env("XDG_RUNTIME_DIR", self.folder());
        for name in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command
    }

    /// A file of logins with this entry for the registry.
    fn login(&self, file: &str, entry: &serde_json::Value) {
        let path = self.folder().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, json!({ "auths": { self.front.address(): entry } }).to_string()).unwrap();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("s3cret"));
}

fn fails(mut command: Command, code: i32, word: &str) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    assert!(said(&output).contains(word), "{}", said(&output));
    assert!(!said(&output).contains("s3cret"), "the password is in the error: {}", said(&output));
}

fn bearer() -> Demand {
    Demand::Bearer { login: Some(LOGIN.to_owned()), refresh: None, realm: None }
}

#[test]
fn a_token_for_everybody_is_fetched_without_a_login() {
    let trial = Trial::new("anonymous", Demand::Bearer { login: None, refresh: None, realm: None });
    succeeds(trial.command());
}

#[test]
fn a_login_is_found_in_every_standard_place() {
    let entry = json!({ "auth": AUTH });
    for demand in [bearer(), Demand::Basic { login: LOGIN.to_owned() }] {
        for file in ["containers/auth.json", ".config/containers/auth.json", ".docker/config.json"] {
            let trial = Trial::new("places", demand.clone());
            fails(trial.command(), REGISTRY, "is it private?");
            trial.login(file, &entry);
            succeeds(trial.command());
        }
        let trial = Trial::new("named", demand);
        trial.login("elsewhere.json", &entry);
        let mut command = trial.command();
        command.env("REGISTRY_AUTH_FILE", trial.folder().join("elsewhere.json"));
        succeeds(command);
    }
}

#[test]
fn a_refresh_token_and_a_credential_helper_serve_too() {
    let refresh = Demand::Bearer { login: None, refresh: Some("r3fresh".to_owned()), realm: None };
    let trial = Trial::new("refresh", refresh);
    trial.login("containers/auth.json", &json!({ "auth": "bm9ib2R5Og==", "identitytoken": "r3fresh" }));
    succeeds(trial.command());

    let trial = Trial::new("helper", bearer());
    let program = trial.folder().join("docker-credential-testbed");
    let script = "#!/bin/sh\nread -r registry\ntest \"$1\" = get || exit 1\n\
                  printf '{\"ServerURL\":\"%s\",\"Username\":\"octo\",\"Secret\":\"s3cret\"}' \"$registry\"\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(trial.folder().join(".docker")).unwrap();
    let file = trial.folder().join(".docker/config.json");
    let path = format!("{}:{}", trial.folder().display(), std::env::var("PATH").unwrap());
    for configuration in [
        json!({ "credHelpers": { trial.front.address(): "testbed" } }),
        json!({ "auths": { trial.front.address(): {} }, "credsStore": "testbed" }),
    ] {
        fs::write(&file, configuration.to_string()).unwrap();
        let mut command = trial.command();
        command.env("PATH", &path);
        succeeds(command);
    }
}

#[test]
fn a_wrong_login_names_its_file_and_the_next_command() {
    for demand in [bearer(), Demand::Basic { login: LOGIN.to_owned() }] {
        let trial = Trial::new("wrong", demand);
        // octo:wrong
        trial.login("containers/auth.json", &json!({ "auth": "b2N0bzp3cm9uZw==" }));
        fails(trial.command(), REGISTRY, "podman login");
    }
    let trial = Trial::new("broken", bearer());
    fs::create_dir_all(trial.folder().join("containers")).unwrap();
    fs::write(trial.folder().join("containers/auth.json"), "{").unwrap();
    fails(trial.command(), SETTINGS, "containers/auth.json: the login for");
}

#[test]
fn a_redirect_to_another_host_carries_no_credential() {
    for demand in [bearer(), Demand::Basic { login: LOGIN.to_owned() }] {
        let trial = Trial::new("redirected", demand);
        trial.login("containers/auth.json", &json!({ "auth": AUTH }));
        // As registries that keep what they hold at a cloud's storage do.
        let storage = Front::of(&trial.scene.registry.address).unwrap();
        let path = format!("/v2/{IMAGE}/manifests/latest");
        let to = Kind::Redirect(format!("http://{}{path}", storage.address()));
        trial.front.fault(Fault::new("GET", &path, to).after(1));
        // The first request is refused and asked again with the login; that one is sent elsewhere.
        succeeds(trial.command());
        let asked = storage.requests();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(!asked[0].authorized, "the credential went to another host: {asked:?}");
    }
}

#[test]
fn a_host_that_a_redirect_leads_to_cannot_ask_for_the_login() {
    let trial = Trial::new("asked-elsewhere", Demand::Bearer { login: None, refresh: None, realm: None });
    trial.login("containers/auth.json", &json!({ "auth": AUTH }));
    let (storage, thief) = (
        Front::of(&trial.scene.registry.address).unwrap(),
        Front::of(&trial.scene.registry.address).unwrap(),
    );
    let realm = Some(format!("http://{}/token", thief.address()));
    storage.demand(Demand::Bearer { login: Some(LOGIN.to_owned()), refresh: None, realm });
    let to = Kind::Redirect(format!("http://{}/v2/{IMAGE}/manifests/latest", storage.address()));
    trial.front.fault(Fault::new("GET", "/manifests/latest", to).times(9));
    fails(trial.command(), REGISTRY, "the registry refuses to show it");
    assert!(!storage.requests().is_empty(), "nobody was sent there");
    assert!(thief.requests().is_empty(), "the login was asked for by another host: {:?}", thief.requests());
}

#[test]
fn a_login_is_not_sent_in_the_clear_to_a_token_service_elsewhere() {
    let realm = Some("http://token.example.com/token".to_owned());
    let trial = Trial::new("realm", Demand::Bearer { login: Some(LOGIN.to_owned()), refresh: None, realm });
    trial.login("containers/auth.json", &json!({ "auth": AUTH }));
    fails(trial.command(), REGISTRY, "which is not https");
}

#[test]
fn a_token_service_that_redirects_gets_no_refresh_token_to_another_host() {
    let refresh = Demand::Bearer { login: None, refresh: Some("r3fresh".to_owned()), realm: None };
    let trial = Trial::new("forwarded", refresh);
    trial.login("containers/auth.json", &json!({ "auth": "bm9ib2R5Og==", "identitytoken": "r3fresh" }));
    let thief = Front::of(&trial.scene.registry.address).unwrap();
    trial.front.fault(
        Fault::new("POST", "/token", Kind::Redirect(format!("http://{}/token", thief.address()))).times(9),
    );
    fails(trial.command(), REGISTRY, "307 Temporary Redirect");
    assert!(thief.requests().is_empty(), "{:?}", thief.requests());
}

#[test]
fn a_next_page_at_another_host_is_not_asked_for() {
    let trial = Trial::new("next-page", bearer());
    trial.login("containers/auth.json", &json!({ "auth": AUTH }));
    let thief = Front::of(&trial.scene.registry.address).unwrap();
    let next = format!("<http://{}/v2/x>; rel=\"next\"", thief.address());
    trial.front.fault(Fault::status("GET", "/referrers/", 200, &[("link", &next)]).times(9));
    // The fallback tag still lists it.
    succeeds(trial.command());
    assert!(thief.requests().is_empty(), "{:?}", thief.requests());
}

#[test]
fn podman_an_image_of_a_private_registry_is_verified_and_run() {
    let scene = Scene::new("private").unwrap();
    let front = Front::of(&scene.registry.address).unwrap();
    front.demand(bearer());
    let file = scene.folder.path().join("auth.json");
    fs::write(&file, json!({ "auths": { front.address(): { "auth": AUTH } } }).to_string()).unwrap();
    let image = format!("{}/{IMAGE}:latest", front.address());
    let up = |login: bool| {
        let mut command = scene.command(&["up", &scene.repository, "--wait", "60"]);
        if login {
            command.env("REGISTRY_AUTH_FILE", &file);
        }
        command.env("VEGA_BUILDER_IMAGE", &image).output().unwrap()
    };
    let refused = up(false);
    assert_eq!(refused.status.code(), Some(REGISTRY), "{}", said(&refused));
    let output = up(true);
    assert!(output.status.success(), "{}", said(&output));
    let mut search = testbed::search::Search::new("s3cret");
    search.container(&scene.engine, &scene.name).unwrap();
    search.container_files(&scene.engine, &scene.name).unwrap();
    search.files(Path::new("/var/lib/vega-builder"));
    assert!(search.seen.is_empty(), "the registry's password is in {:?}", search.seen);
    scene.down().unwrap();
}
