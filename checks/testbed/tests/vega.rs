//! `login`, `logout`, and `push --to vega`: against a control plane that takes nothing that is not so.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::Value;
use simulator::{
    fault::{Fault, Kind},
    vega::Server,
};
use testbed::{
    nix_store::NixStore,
    scene::{program, succeeded},
};

/// A control plane, a store and a person of one test's own.
struct Bench {
    vega: Server,
    store: NixStore,
    home: tempfile::TempDir,
}

const OWNER: &str = "owner:583231";

impl Bench {
    fn new() -> Self {
        Self {
            vega: Server::start().unwrap(),
            store: NixStore::new().unwrap(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env("HOME", self.home.path()).env("VEGA_URL", self.vega.url());
        for variable in ["GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"] {
            command.env_remove(variable);
        }
        command
    }

    fn login(&self) -> Output {
        self.command(&["login", "--github-url", self.vega.url(), "--output", "json"]).output().unwrap()
    }

    fn push(&self, paths: &[&str]) -> Command {
        let url = self.store.url();
        let mut command =
            self.command(&["push", "--to", "vega", "--upstream", "", "--output", "json", "--store", &url]);
        command.args(paths);
        command
    }

    /// The same as a job of this repository.
    fn push_as_a_job(&self, repository: &str, paths: &[&str]) -> Command {
        let (url, token) = self.vega.identity_of(repository);
        let mut command = self.push(paths);
        command
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REPOSITORY", repository)
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", token);
        command
    }

    fn credential(&self) -> PathBuf {
        self.home.path().join(".config/vega/credential")
    }

    /// Three paths, the last of which refers to the others; one is large enough to go out while it is made.
    fn closure(&self) -> [String; 3] {
        let large = self.store.add("large", &[], |path| {
            let noise: Vec<u8> =
                (0..6_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            fs::write(path, noise)
        });
        let (large, small) = (large.unwrap(), self.store.file("small", &[]).unwrap());
        let top = self.store.file("top", &[&large, &small]).unwrap();
        [large, small, top]
    }
}

fn result(out: &str) -> Value {
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    last["result"].clone()
}

fn failed(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn hash(path: &str) -> &str {
    &path.trim_start_matches("/nix/store/")[..32]
}

#[test]
fn a_person_logs_in_pushes_to_their_namespace_and_nix_takes_it_with_the_tenants_key_alone() {
    let bench = Bench::new();
    bench.vega.person(3, "");
    let told = succeeded(&bench.login()).unwrap();
    assert!(told.contains("WDJB-MJHT") && told.contains("https://github.com/login/device"), "{told}");
    assert_eq!(result(&told)["tenant"], OWNER);
    let kept = fs::read_to_string(bench.credential()).unwrap();
    assert_eq!(fs::metadata(bench.credential()).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let secret = kept["credential"].as_str().unwrap();
    assert!(secret.starts_with("vega-owner-") && !told.contains(secret));

    let [large, small, top] = bench.closure();
    let told = succeeded(&bench.push(&[&top]).output().unwrap()).unwrap();
    let told = result(&told);
    assert_eq!(told["pushed"].as_array().unwrap().len(), 3, "{told}");
    let (url, key) = (told["substituter"].as_str().unwrap(), told["public_key"].as_str().unwrap());
    assert_eq!((url, key), (&*format!("{}/tenant/{OWNER}", bench.vega.url()), &*bench.vega.key(OWNER)));
    for path in [&large, &small, &top] {
        assert!(bench.vega.narinfo(OWNER, hash(path)).is_some(), "{path}");
    }

    let consumer = NixStore::new().unwrap();
    succeeded(&consumer.substitute(&top, url, key).unwrap()).unwrap();
    let stranger = NixStore::new().unwrap();
    let refused = stranger.substitute(&top, url, &bench.vega.key("octo-org/other")).unwrap();
    assert!(!refused.status.success());

    // Nothing twice.
    let told = result(&succeeded(&bench.push(&[&top]).output().unwrap()).unwrap());
    assert_eq!((told["present"].as_u64(), told["pushed"].as_array().unwrap().len()), (Some(3), 0));

    succeeded(&bench.command(&["logout"]).output().unwrap()).unwrap();
    assert!(!bench.credential().exists());
    succeeded(&bench.command(&["logout"]).output().unwrap()).unwrap();
    let (code, error) = failed(&bench.push(&[&top]).output().unwrap());
    assert!(code == 2 && error.contains("type `vega-builder login`"), "{code} {error}");
}

#[test]
fn a_login_that_is_refused_or_never_made_leaves_nothing() {
    let bench = Bench::new();
    for (does, says) in [
        ("access_denied", "refused at GitHub"),
        ("expired_token", "lapsed"),
        ("device_flow_disabled", "device_flow"),
    ] {
        bench.vega.person(1, does);
        let (_, error) = failed(&bench.login());
        assert!(error.contains(says), "{error}");
        assert!(!bench.credential().exists());
    }
    bench.vega.person(0, "");
    bench.vega.faults.add(Fault::status("POST", "/api/owner/enroll", 403, &[]));
    let (_, error) = failed(&bench.login());
    assert!(error.contains("403") && !bench.credential().exists(), "{error}");
}

#[test]
fn a_job_pushes_with_its_own_identity_to_its_repositorys_namespace() {
    let bench = Bench::new();
    let [_, _, top] = bench.closure();
    let told = succeeded(&bench.push_as_a_job("octo-org/big.repo", &[&top]).output().unwrap()).unwrap();
    let told = result(&told);
    assert_eq!(told["substituter"], format!("{}/tenant/octo-org/big.repo", bench.vega.url()));
    assert_eq!(told["public_key"], bench.vega.key("octo-org/big.repo"));
    assert!(bench.vega.narinfo("octo-org/big.repo", hash(&top)).is_some());

    let mut without = bench.push(&[&top]);
    let (code, error) = failed(&without.env("GITHUB_ACTIONS", "true").output().unwrap());
    assert!(code == 2 && error.contains("id-token: write"), "{code} {error}");
}

#[test]
fn an_identity_that_lapses_is_minted_again_once_and_a_refused_one_is_an_error() {
    let bench = Bench::new();
    let [_, _, top] = bench.closure();
    bench.vega.faults.add(Fault::status("POST", "/api/cache/push", 401, &[]));
    succeeded(&bench.push_as_a_job("octo-org/a", &[&top]).output().unwrap()).unwrap();
    let asked =
        |path: &str| bench.vega.faults.requests().iter().filter(|one| one.path.contains(path)).count();
    assert_eq!(asked("_identity"), 2);
    bench.vega.faults.add(Fault::status("POST", "/api/cache/upload-url", 401, &[]).times(50));
    let (_, error) = failed(&bench.push_as_a_job("octo-org/b", &[&top]).output().unwrap());
    assert!(error.contains("401"), "{error}");
}

#[test]
fn an_address_that_lapsed_is_asked_for_again_once() {
    let bench = Bench::new();
    let large = bench.closure()[0].clone();
    bench.vega.lapsed(1);
    succeeded(&bench.push_as_a_job("octo-org/a", &[&large]).output().unwrap()).unwrap();
    bench.vega.lapsed(9);
    let (_, error) = failed(&bench.push_as_a_job("octo-org/b", &[&large]).output().unwrap());
    assert!(error.contains("lapsed twice") && !error.contains("Signature"), "{error}");
}

#[test]
fn a_control_plane_that_is_busy_gets_all_of_it_all_the_same() {
    let bench = Bench::new();
    let [_, _, top] = bench.closure();
    bench.vega.faults.add(Fault::status("POST", "/api/cache/upload-url", 429, &[("retry-after", "1")]));
    bench.vega.faults.add(Fault::status("PUT", "/_r2/", 503, &[]).times(2));
    bench.vega.faults.add(Fault::new("POST", "/api/cache/push", simulator::fault::Kind::DropReply));
    succeeded(&bench.push_as_a_job("octo-org/a", &[&top]).output().unwrap()).unwrap();
    assert!(bench.vega.narinfo("octo-org/a", hash(&top)).is_some());
}

#[test]
fn a_credential_goes_neither_to_another_control_plane_nor_with_a_key_of_ones_own() {
    let bench = Bench::new();
    let [_, small, _] = bench.closure();
    succeeded(&bench.login()).unwrap();
    let elsewhere = Server::start().unwrap();
    let mut push = bench.push(&[&small]);
    let (code, error) = failed(&push.env("VEGA_URL", elsewhere.url()).output().unwrap());
    assert!(code == 2 && error.contains("vega-builder login"), "{code} {error}");
    assert!(elsewhere.faults.requests().is_empty());
    let (code, error) = failed(&bench.push(&["--key", "/nonexistent", &small]).output().unwrap());
    assert!(code == 2 && error.contains("leave out --key"), "{code} {error}");
    let mut plain = bench.push(&[&small]);
    let (code, error) = failed(&plain.env("VEGA_URL", "http://vega.example").output().unwrap());
    assert!(code == 2 && error.contains("https"), "{code} {error}");
}

#[test]
fn a_control_plane_that_restarts_in_the_middle_gets_all_of_it() {
    let mut bench = Bench::new();
    bench.vega.person(0, "");
    succeeded(&bench.login()).unwrap();
    let paths = bench.store.files("p", 100).unwrap();
    let slow = Kind::Delay(Duration::from_millis(60));
    bench.vega.faults.add(Fault::new("POST", "/api/cache", slow).times(usize::MAX));
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let mut child = bench.push(&paths).stdout(std::process::Stdio::null()).spawn().unwrap();
    let published = |bench: &Bench| {
        let hashes = paths.iter().map(|path| &path.trim_start_matches("/nix/store/")[..32]);
        hashes.filter(|hash| bench.vega.narinfo(OWNER, hash).is_some()).count()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while published(&bench) < 10 {
        assert!(Instant::now() < deadline, "nothing was pushed");
        std::thread::sleep(Duration::from_millis(5));
    }
    bench.vega.restart(Duration::from_millis(300)).unwrap();
    assert!(published(&bench) < 100, "it was over before the restart");
    assert!(child.wait().unwrap().success());
    assert_eq!(published(&bench), 100);
}
