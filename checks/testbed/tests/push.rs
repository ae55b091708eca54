//! `push`: what leaves a store, what does not, and what Nix itself makes of it.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
    process::Command,
};

use simulator::{cache::Server, fault::Fault, objects};
use testbed::{
    nix_store::NixStore,
    pushing::{PushBench, hash, result},
    scene::{program, succeeded},
};

fn field<'a>(narinfo: &'a str, name: &str) -> &'a str {
    narinfo.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or_default()
}

/// All that a NAR can hold: an executable, links with long and strange targets, empty things, names in every order and,
/// where `is_strange`, in no encoding.
fn tree(path: &Path, is_strange: bool) -> std::io::Result<()> {
    fs::create_dir_all(path.join("bin/empty"))?;
    fs::write(path.join("bin/run"), "#!/bin/sh\n")?;
    fs::set_permissions(path.join("bin/run"), fs::Permissions::from_mode(0o555))?;
    fs::write(path.join("empty"), "")?;
    for name in ["a", "a.b", "a-b", "A", "é", "z z"] {
        fs::write(path.join(name), name.repeat(9))?;
    }
    std::os::unix::fs::symlink("x".repeat(3000), path.join("long"))?;
    std::os::unix::fs::symlink("../é", path.join("bin/link"))?;
    if is_strange {
        fs::write(path.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "no UTF-8")?;
    }
    fs::write(path.join("large"), vec![7; 6 << 20])
}

#[test]
fn nars_and_narinfos_are_bit_by_bit_what_nix_itself_writes() {
    let bench = PushBench::new().unwrap();
    let lower = bench.store.add("lower", &[], |path| tree(path, false)).unwrap();
    let strange = bench.store.add("strange", &[], |path| tree(path, true)).unwrap();
    let own = format!("/nix/store/{}-upper", "0".repeat(32));
    let upper = bench.store.file("upper", &[&lower, &strange]).unwrap();
    assert_ne!(own, upper);
    let source = bench.folder.path().join("source");
    tree(&source, false).unwrap();
    let source = bench.store.source(&source).unwrap();
    let all = [lower.as_str(), &strange, &upper, &source];

    // Nix's own word for all of them.
    let theirs = bench.folder.path().join("theirs");
    let copied = Command::new("nix")
        .args(["--extra-experimental-features", "nix-command", "copy", "--no-check-sigs", "--from"])
        .arg(bench.store.url())
        .args(["--to", &format!("file://{}?compression=none", theirs.display())])
        .args(all)
        .env("HOME", bench.folder.path())
        .output()
        .unwrap();
    succeeded(&copied).unwrap();

    for compression in ["none", "zstd", "xz"] {
        let _ = fs::remove_dir_all(bench.cache());
        let told = bench.pushed(&[&upper, &source], &["--compression", compression]).unwrap();
        assert_eq!((told["closure"].as_u64(), told["pushed"].as_array().unwrap().len()), (Some(4), 4));
        for path in all {
            let (ours, nixs) = (
                bench.narinfo(path).unwrap(),
                fs::read_to_string(theirs.join(format!("{}.narinfo", hash(path)))).unwrap(),
            );
            for name in ["StorePath", "NarHash", "NarSize", "References", "Deriver", "CA"] {
                assert_eq!(field(&ours, name), field(&nixs, name), "{name} of {path}");
            }
            let names = |text: &str| -> Vec<String> {
                let all = text.lines().filter_map(|line| line.split(':').next()).map(str::to_owned);
                all.filter(|name| name != "Sig").collect()
            };
            assert_eq!(names(&ours), names(&nixs), "the order of {path}'s lines");
            let file = fs::read(bench.cache().join(field(&ours, "URL"))).unwrap();
            assert_eq!(file.len().to_string(), field(&ours, "FileSize"));
            let dumped =
                Command::new("nix-store").arg("--dump").arg(bench.store.real(path)).output().unwrap();
            assert!(unpacked(compression, &file) == dumped.stdout, "{compression} of {path}");
        }
    }
}

fn unpacked(compression: &str, bytes: &[u8]) -> Vec<u8> {
    if compression == "none" {
        return bytes.to_vec();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let output = Command::new(compression)
        .args(["--decompress", "--stdout", "--quiet"])
        .stdin(fs::File::open(file.path()).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn nix_takes_it_with_our_key_alone_and_refuses_a_flipped_byte_and_a_foreign_key() {
    let bench = PushBench::new().unwrap();
    let lower = bench.store.file("lower", &[]).unwrap();
    let upper = bench.store.file("upper", &[&lower]).unwrap();
    let told = bench.pushed(&[&upper], &[]).unwrap();
    let cache = told["substituter"].as_str().unwrap().to_owned();
    assert_eq!(told["public_key"], bench.public_key());

    let taker = NixStore::new().unwrap();
    let foreign = format!("test-1:{}", "A".repeat(43)) + "=";
    let refused = taker.substitute(&upper, &cache, &foreign).unwrap();
    assert!(!refused.status.success() && !taker.real(&upper).exists());
    succeeded(&taker.substitute(&upper, &cache, &bench.public_key()).unwrap()).unwrap();
    assert_eq!(fs::read(taker.real(&upper)).unwrap(), fs::read(bench.store.real(&upper)).unwrap());
    assert!(taker.real(&lower).exists());

    let nar = bench.cache().join(field(&bench.narinfo(&lower).unwrap(), "URL"));
    let mut bytes = fs::read(&nar).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&nar, bytes).unwrap();
    let taker = NixStore::new().unwrap();
    let refused = taker.substitute(&upper, &cache, &bench.public_key()).unwrap();
    assert!(!refused.status.success() && !taker.real(&upper).exists(), "a flipped byte was taken");
}

#[test]
fn a_secret_stays_here_and_so_does_all_that_depends_on_it() {
    let bench = PushBench::new().unwrap();
    let clean = bench.store.file("clean", &[]).unwrap();
    let text = format!(
        "-----BEGIN {} KEY-----\n{}\n",
        "PRIVATE", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIB"
    );
    let leak = bench.store.add("leak", &[&clean], |path| {
        fs::create_dir(path)?;
        fs::write(path.join("key.pem"), text)
    });
    let leak = leak.unwrap();
    let above = bench.store.file("above", &[&leak]).unwrap();
    let to = bench.cache();
    let output = bench.push(to.to_str().unwrap(), &[&above], &[]);
    assert_eq!(output.status.code(), Some(11), "{output:?}");
    let told = result(&String::from_utf8_lossy(&output.stdout)).unwrap();
    assert_eq!(told["pushed"].as_array().unwrap().len(), 1);
    let why: Vec<&str> =
        told["refused"].as_array().unwrap().iter().filter_map(|one| one["why"].as_str()).collect();
    assert!(why[0].contains("key.pem") && why[0].contains("(private-key)"), "{why:?}");
    assert!(why[1].contains("depends on") && why[1].contains("leak"), "{why:?}");
    // Not a byte of them has left.
    assert_eq!(fs::read_dir(bench.cache().join("nar")).unwrap().count(), 1);
    let told = bench.pushed(&[&above], &["--allow-secret", "private-key:key[.]pem"]).unwrap();
    assert_eq!((told["present"].as_u64(), told["pushed"].as_array().unwrap().len()), (Some(1), 2));
}

#[test]
fn a_damaged_path_is_not_announced_and_the_rest_is() {
    let bench = PushBench::new().unwrap();
    let fine = bench.store.file("fine", &[]).unwrap();
    for (name, large) in [("small", false), ("large", true)] {
        let damaged = bench
            .store
            .add(name, &[&fine], |path| fs::write(path, vec![1; if large { 9 << 20 } else { 10 }]))
            .unwrap();
        let above = bench.store.file(&format!("above-{name}"), &[&damaged]).unwrap();
        let real = bench.store.real(&damaged);
        let mut bytes = fs::read(&real).unwrap();
        bytes[5] ^= 1;
        fs::write(&real, bytes).unwrap();
        let to = bench.cache();
        let output = bench.push(to.to_str().unwrap(), &[&above], &[]);
        assert_eq!(output.status.code(), Some(11), "{output:?}");
        let told = result(&String::from_utf8_lossy(&output.stdout)).unwrap();
        assert!(told["refused"][0]["why"].as_str().unwrap().contains("not what its hash says"), "{told}");
        assert_eq!(told["refused"].as_array().unwrap().len(), 2);
        for path in [&damaged, &above] {
            assert!(!bench.cache().join(format!("{}.narinfo", hash(path))).exists());
        }
        assert!(bench.narinfo(&fine).unwrap().contains("fine"));
    }
}

#[test]
fn what_is_there_or_upstream_is_not_pushed_and_an_upstream_that_is_away_has_nothing() {
    let bench = PushBench::new().unwrap();
    let [common, own] = ["common", "own"].map(|name| bench.store.file(name, &[]).unwrap());
    let top = bench.store.file("top", &[&common, &own]).unwrap();
    let upstream = Server::start().unwrap();
    let cache = Server::start().unwrap();
    // Anything but its own 200 is no promise: not another success, and not the page that asks for a login.
    upstream.faults.add(Fault::status("HEAD", hash(&own), 206, &[]).times(9));
    let elsewhere = format!("{}/nix-cache-info", upstream.url());
    upstream.faults.add(Fault::new("HEAD", hash(&top), simulator::fault::Kind::Redirect(elsewhere)).times(9));
    let there = format!("StorePath: {common}\nURL: nix-cache-info\nFileSize: 1\n");
    put(&upstream, "nix-cache-info", "x");
    put(&upstream, &format!("{}.narinfo", hash(&common)), &there);
    cache.is_upstream(hash(&common));
    let upstreams = format!("http://127.0.0.1:1,{}", upstream.url());
    let output = bench.push(cache.url(), &[&top], &["--upstream", &upstreams]);
    let out = succeeded(&output).unwrap();
    let told = result(&out).unwrap();
    assert_eq!((told["upstream"].as_u64(), told["pushed"].as_array().unwrap().len()), (Some(1), 2), "{told}");
    assert!(out.contains("http://127.0.0.1:1 did not answer"), "{out}");
    assert!(cache.file(&format!("{}.narinfo", hash(&common))).is_none());
    let before = cache.faults.requests().iter().filter(|one| one.method == "PUT").count();
    let told =
        result(&succeeded(&bench.push(cache.url(), &[&top], &["--upstream", &upstreams])).unwrap()).unwrap();
    assert_eq!((told["present"].as_u64(), told["upstream"].as_u64()), (Some(2), Some(1)));
    assert_eq!(cache.faults.requests().iter().filter(|one| one.method == "PUT").count(), before);
}

fn put(server: &Server, name: &str, text: &str) {
    let request = reqwest::Client::new().put(format!("{}/{name}", server.url())).body(text.to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(request.send()).unwrap().status().is_success());
}

#[test]
fn what_cannot_be_looked_through_for_secrets_does_not_leave_unseen() {
    let bench = PushBench::new().unwrap();
    let path = bench.store.file("there", &[]).unwrap();
    bench.pushed(&[&path], &[]).unwrap();
    let elsewhere = format!("file://{}", bench.cache().display());
    let to = bench.folder.path().join("other");
    let push = |options: &[&str]| {
        Command::new(program())
            .args(["push", "--store", &elsewhere, "--upstream", "", &path, "--to"])
            .arg(&to)
            .args(options)
            .output()
            .unwrap()
    };
    let refused = push(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--no-secret-scan"), "{said}");
    assert!(!to.join("nar").exists());
    succeeded(&push(&["--no-secret-scan"])).unwrap();
    assert!(to.join(format!("{}.narinfo", hash(&path))).exists());
}

fn has_what_the_folder_has(store: &objects::Server, bench: &PushBench, paths: &[&str]) {
    let at = |name: &str| store.object(&format!("some/prefix/{name}")).unwrap_or_else(|| panic!("{name}"));
    for path in paths {
        let narinfo = bench.narinfo(path).unwrap();
        assert_eq!(String::from_utf8(at(&format!("{}.narinfo", hash(path)))).unwrap(), narinfo);
        let url = field(&narinfo, "URL");
        assert!(at(url) == fs::read(bench.cache().join(url)).unwrap(), "{url} differs");
    }
}

#[test]
fn an_object_store_gets_what_a_folder_gets_large_paths_in_parts() {
    let bench = PushBench::new().unwrap();
    let store = objects::Server::start().unwrap();
    let noise: Vec<u8> = (0..24_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let large = bench.store.add("large", &[], |path| fs::write(path, noise)).unwrap();
    let top = bench.store.file("top", &[&large]).unwrap();
    let url = format!("s3://{}/some/prefix?region=eu-central-1&endpoint={}", objects::BUCKET, store.url());
    let push = |secret: &str| {
        let mut push = bench.command(&url, &[&top], &["--compression", "none"]);
        push.env("AWS_ACCESS_KEY_ID", objects::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", secret);
        push.output().unwrap()
    };
    store.faults.add(Fault::status("PUT", "/", 503, &[]));
    let told = result(&succeeded(&push(objects::SECRET_KEY)).unwrap()).unwrap();
    assert_eq!((told["pushed"].as_array().unwrap().len(), store.open_uploads()), (2, 0));
    bench.pushed(&[&top], &["--compression", "none"]).unwrap();
    has_what_the_folder_has(&store, &bench, &[&large, &top]);
    // What is there is not pushed again.
    assert_eq!(result(&succeeded(&push(objects::SECRET_KEY)).unwrap()).unwrap()["present"], 2);
    let mut nobody = bench.command(&url, &[&top], &[]);
    let refused =
        nobody.env("AWS_ACCESS_KEY_ID", "nobody").env("AWS_SECRET_ACCESS_KEY", "x").output().unwrap();
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && error.contains("AccessDenied"), "{error}");
}

#[test]
fn googles_and_azures_stores_get_it_with_a_login_from_a_file() {
    let bench = PushBench::new().unwrap();
    let noise: Vec<u8> = (0..24_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let large = bench.store.add("large", &[], |path| fs::write(path, noise)).unwrap();
    let top = bench.store.file("top", &[&large]).unwrap();
    bench.pushed(&[&top], &["--compression", "none"]).unwrap();
    let google = r#"GOOGLE_SERVICE_ACCOUNT_KEY='{"private_key":"x","private_key_id":"x","client_email":"x","disable_oauth":true}'"#;
    let azure = format!(
        "# ours\nAZURE_STORAGE_ACCOUNT_NAME={}\nAZURE_STORAGE_ACCOUNT_KEY=dGVzdGJlZA==\n",
        objects::ACCOUNT
    );
    for (scheme, login) in [("gs", google.to_owned()), ("az", azure)] {
        let store = objects::Server::start().unwrap();
        if scheme == "gs" {
            store.open();
        }
        let url = format!("{scheme}://{}/some/prefix?endpoint={}", objects::BUCKET, store.url());
        let file = bench.folder.path().join(scheme);
        fs::write(&file, login).unwrap();
        let push =
            || bench.push(&url, &[&top], &["--compression", "none", "--login", file.to_str().unwrap()]);
        // Others could read it.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = push();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let told = result(&succeeded(&push()).unwrap()).unwrap();
        assert_eq!((told["pushed"].as_array().unwrap().len(), store.open_uploads()), (2, 0), "{scheme}");
        has_what_the_folder_has(&store, &bench, &[&large, &top]);
        assert_eq!(result(&succeeded(&push()).unwrap()).unwrap()["present"], 2, "{scheme}");
    }
}

#[test]
fn a_cache_behind_http_gets_its_login_from_a_netrc_file() {
    let bench = PushBench::new().unwrap();
    let path = bench.store.file("x", &[]).unwrap();
    let cache = Server::start().unwrap();
    cache.wants_login("me", "s$cret");
    let file = bench.folder.path().join("netrc");
    let push = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        bench.push(cache.url(), &[&path], &["--login", file.to_str().unwrap()])
    };
    let wrong = push("machine 127.0.0.1 login me password wrong");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("401") && !said.contains("wrong"), "{said}");
    succeeded(&push("machine 127.0.0.1\n  login me\n  password s$cret\n")).unwrap();
    assert!(cache.file(&format!("{}.narinfo", hash(&path))).is_some());
}

#[test]
fn bad_words_are_told_by_name_before_anything_leaves() {
    let bench = PushBench::new().unwrap();
    let path = bench.store.file("x", &[]).unwrap();
    let to = bench.cache();
    let to = to.to_str().unwrap();
    for (to, options, code, word) in [
        ("ftp://host/x", vec![], 2, "'ftp://host/x' is no binary cache"),
        (to, vec!["--compression", "bzip2"], 2, "zstd, xz or none"),
        (to, vec!["--level", "99"], 2, "1 to 19"),
        (to, vec!["--allow-secret", "x"], 2, "names no rule"),
        (to, vec!["/nix/store/00000000000000000000000000000000-none"], 1, "is not valid"),
        ("http://me:secret@192.0.2.1/x", vec![], 2, "does not go over http"),
    ] {
        let output = bench.push(to, &[&path], &options);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(word), "{options:?}: {said}");
        assert!(!said.contains("secret@"), "{said}");
    }
    // The help shows variables, and that one may have a login in it.
    let help = Command::new(program())
        .args(["push", "--help"])
        .env("VEGA_BUILDER_CACHE_TO", "https://me:secret@host/")
        .output()
        .unwrap();
    assert!(help.status.success() && !String::from_utf8_lossy(&help.stdout).contains("secret@"));
    fs::set_permissions(bench.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let output = bench.push(to, &[&path], &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 0400"), "{output:?}");
    assert!(!bench.cache().exists());
}
