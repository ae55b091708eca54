//! `serve` and `cache use`: a host's own cache for others' Nix.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    nix_store::NixStore,
    scene::{program, succeeded},
};

/// Ended when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_pushed_to_a_folder_is_served_and_used_and_nothing_else_of_the_folder_is() {
    let folder = tempfile::tempdir().unwrap();
    let (key, cache) = (folder.path().join("key"), folder.path().join("cache"));
    let made = Command::new(program())
        .args(["key", "generate", "--name", "served-1", "--out"])
        .arg(&key)
        .output()
        .unwrap();
    let public = succeeded(&made).unwrap().trim().to_owned();
    let store = NixStore::new().unwrap();
    let path = store.file("served", &[]).unwrap();
    let mut push = Command::new(program());
    push.args(["push", &path, "--store", &store.url(), "--upstream", "", "--to"])
        .arg(&cache)
        .arg("--key")
        .arg(&key);
    succeeded(&push.output().unwrap()).unwrap();
    fs::write(cache.join("secret.txt"), "x").unwrap();

    let mut serve = Command::new(program());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--cache"]).arg(&cache).stdout(Stdio::piped());
    let mut serving = Serving(serve.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(serving.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.split_whitespace().last().unwrap().to_owned();

    let conf = folder.path().join("nix.conf");
    let use_it = |words: &[&str]| {
        Command::new(program()).args(["cache", "use"]).args(words).arg("--conf").arg(&conf).output().unwrap()
    };
    let unknown = use_it(&[&url]);
    let error = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && error.contains("second word") && !conf.exists(), "{error}");
    succeeded(&use_it(&[&url, &public])).unwrap();
    succeeded(&use_it(&[&url, &public])).unwrap();
    let text = fs::read_to_string(&conf).unwrap();
    assert_eq!(text, format!("extra-substituters = {url}\nextra-trusted-public-keys = {public}\n"));
    let nowhere = use_it(&["http://127.0.0.1:9", &public]);
    assert!(!nowhere.status.success());

    let consumer = NixStore::new().unwrap();
    succeeded(&consumer.substitute(&path, &url, &public).unwrap()).unwrap();
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is"])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for hidden in ["secret.txt", "../key", "%2e%2e/key", "nar/", ""] {
        assert_eq!(curl(&[&format!("{url}/{hidden}")]), "404", "{hidden}");
    }
    assert_eq!(curl(&["-X", "PUT", "-d", "x", &format!("{url}/nix-cache-info")]), "405");

    kill(Pid::from_raw(serving.0.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(serving.0.wait().unwrap().success());
}
