//! Builds that go to a cache by themselves: from Nix's hook through the queue to the pusher, beside the runner.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::Value;
use simulator::{cache::Server, fault::Fault};
use testbed::{
    caching::{Bench, narinfo, paths},
    nix_store::NixStore,
    scene::succeeded,
    scripts::{two_builds, two_outputs},
};

#[test]
fn podman_what_a_job_builds_is_in_the_cache_when_it_ends_and_nix_takes_it() {
    let bench = Bench::new("cached");
    let cache = bench.folder.path().join("cache");
    bench.up(cache.to_str().unwrap(), "job");
    let log = bench.scene.job(&two_builds("one")).unwrap();
    let names = paths(&log);
    assert_eq!(names.len(), 2, "{log}");
    for path in &names {
        let text = fs::read_to_string(cache.join(narinfo(path))).unwrap();
        assert!(text.contains("Sig: up-1:") && text.contains("Deriver: "), "{text}");
    }
    let consumer = NixStore::new().unwrap();
    let from = format!("file://{}", cache.display());
    succeeded(&consumer.substitute(&names[1], &from, &bench.public_key()).unwrap()).unwrap();
    provenance_is_told(&bench, &names[1], &cache);
    let both = paths(&bench.scene.job(&two_outputs("both")).unwrap());
    assert_eq!(both.len(), 2, "{both:?}");
    for path in &both {
        assert!(cache.join(narinfo(path)).exists(), "{path}");
    }
    let text = succeeded(&bench.scene.run(&["metrics"]).unwrap()).unwrap();
    let metric = |name: &str| -> f64 {
        let line = format!("vega_builder_{name}{{runner=\"{}\"}} ", bench.scene.name);
        text.lines().find_map(|found| found.strip_prefix(&line)?.parse().ok()).unwrap()
    };
    assert!(metric("uploads_pushed_total") > 1.5 && metric("uploads_pushed_bytes_total") > 100.0, "{text}");
    assert!(metric("uploads_waiting") < 0.5 && metric("uploads_dropped_total") < 0.5, "{text}");
    let uploads = bench.uploads();
    assert!(uploads["pushed"].as_u64() >= Some(2) && uploads["waiting"] == 0, "{uploads}");
    // Nothing of it lies about when it is done.
    let queue =
        bench.scene.engine.said(&["volume", "inspect", "--format", "{{.Mountpoint}}", "vega-cached-queue"]);
    let queue = PathBuf::from(queue.unwrap().trim());
    for folder in ["new", "ready", "roots"] {
        assert_eq!(fs::read_dir(queue.join(folder)).unwrap().count(), 0, "{folder}");
    }
    assert_eq!(fs::metadata(&queue).unwrap().permissions().mode() & 0o777, 0o700);
    bench.scene.down().unwrap();
    assert!(!queue.exists() && cache.join(narinfo(&names[1])).exists());
}

/// From the runner's own queue, and from the cache for whoever trusts the key.
fn provenance_is_told(bench: &Bench, path: &str, cache: &std::path::Path) {
    let (key, from) = (bench.public_key(), cache.display().to_string());
    let ask = |more: &[&str]| {
        let output =
            bench.scene.run(&[&["provenance", path, "--key", &key, "--output", "json"], more].concat());
        serde_json::from_str::<Value>(&succeeded(&output.unwrap()).unwrap()).unwrap()
    };
    let statement = ask(&[]);
    assert_eq!(statement, ask(&["--from", &from]));
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let (what, how) = ("/predicate/buildDefinition/externalParameters", "/predicate/buildDefinition");
    let at =
        |pointer: String| statement.pointer(&pointer).unwrap_or_else(|| panic!("{pointer}: {statement}"));
    assert_eq!(at(format!("{what}/repository")), &bench.scene.repository);
    assert!(at(format!("{what}/derivation")).as_str().unwrap().ends_with("-upper-one.drv"));
    assert_eq!(at(format!("{what}/outputs/0")), path);
    assert_eq!(at(format!("{how}/internalParameters/sandbox")), true);
    assert_eq!(at(format!("{how}/internalParameters/caps/memory")), 2_u64 << 30);
    let digest = at(format!("{how}/resolvedDependencies/0/digest/sha256")).as_str().unwrap();
    assert_eq!(format!("sha256:{digest}"), bench.record("digest"));
    assert!(
        at("/predicate/runDetails/builder/id".to_owned())
            .as_str()
            .unwrap()
            .contains("publish-builder-image.yml")
    );
    // Nobody else's key, and a person reads it.
    let other = "other-1:JMOklPoimWJmRLllqRMtp5z+ZxUf3ELeYAzwkJfbgkc=";
    let refused = bench.scene.run(&["provenance", path, "--key", other]).unwrap();
    assert_eq!(refused.status.code(), Some(3));
    let text = succeeded(&bench.scene.run(&["provenance", path]).unwrap()).unwrap();
    assert!(text.contains("octo-org/cached") && text.contains("not checked"), "{text}");
}

#[test]
fn podman_a_cache_that_is_away_fails_no_job_and_gets_all_of_it_later_once() {
    let bench = Bench::new("away");
    let cache = Server::start().unwrap();
    let faults = |count| cache.faults.add(Fault::status("PUT", "/", 403, &[]).times(count));
    faults(1000);
    bench.up(cache.url(), "no");
    let names = paths(&bench.scene.job(&two_builds("away")).unwrap());
    bench.until("it says why nothing goes", |uploads| {
        uploads["waiting"].as_u64() > Some(0)
            && uploads["error"].as_str().is_some_and(|why| why.contains("403"))
    });
    // A garbage collection takes what nobody holds, and nothing that waits.
    let garbage = bench.scene.job("echo garbage >g; echo \"store path: $(nix-store --add g)\"").unwrap();
    let [lower, upper, garbage] = [&names[0], &names[1], &paths(&garbage)[0]];
    let collect =
        format!("nix-store --gc >/dev/null 2>&1; test ! -e {garbage}; test -e {lower}; test -e {upper}");
    bench.scene.job(&collect).unwrap();
    // The pusher dies and comes back; the queue is what it was.
    let pusher = format!("{}.pusher", bench.scene.name);
    bench.scene.engine.said(&["kill", "--signal", "KILL", &pusher]).unwrap();
    cache.faults.clear();
    bench.scene.engine.said(&["start", &pusher]).unwrap();
    bench.until("all of it goes", |uploads| uploads["waiting"] == 0);
    for path in &names {
        assert!(cache.file(&narinfo(path)).is_some(), "{path}: {:?}", cache.names());
        let puts = cache.faults.requests().into_iter();
        let puts =
            puts.filter(|one| one.method == "PUT" && one.path.contains(&narinfo(path)) && one.status == 201);
        assert_eq!(puts.count(), 1, "{path}");
    }
    bench.scene.down().unwrap();
}

#[test]
fn podman_a_hostile_job_reads_no_key_and_forges_no_upload() {
    let bench = Bench::new("forger");
    let cache = bench.folder.path().join("cache");
    bench.up(cache.to_str().unwrap(), "no");
    let secret = fs::read_to_string(bench.key()).unwrap();
    let secret = secret.trim().split(':').nth(1).unwrap();
    let log = bench
        .scene
        .job(
            r#"queue=/var/lib/vega-builder/queue
ls $queue 2>/dev/null && echo THROUGH: the queue is read
mkdir -p $queue/new 2>/dev/null && echo '{}' >$queue/new/1.json && echo THROUGH: an entry is written
echo x >forged; path=$(nix-store --add forged); echo "forged $path"
DRV_PATH=/nix/store/x.drv OUT_PATHS=$path /run/vega-builder/post-build-hook
nix-build --no-out-link --option post-build-hook /tmp/x -E '1' 2>/dev/null || true
printf '{"at":"2099-01-01T00:00:00Z","builds":0}' >/run/vega-builder/uploads.json 2>/dev/null && echo THROUGH: the count is forged
rm -f /run/vega-builder/post-build-hook 2>/dev/null || true; test -e /run/vega-builder/post-build-hook || echo THROUGH: the hook is gone
find / -xdev \( -name key -o -name 'cache-key*' -o -name settings.json \) -path '*vega*' 2>/dev/null || true
{ cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true; } | tr '\0' '\n'
true"#,
        )
        .unwrap();
    assert!(!log.contains("THROUGH") && !log.contains(secret), "{log}");
    let inside = bench.scene.engine.said(&["inspect", &bench.scene.name]).unwrap();
    assert!(
        !inside.contains(secret) && !inside.contains(bench.key().to_str().unwrap()),
        "the runner has the key"
    );
    let beside = bench.scene.engine.said(&["inspect", &format!("{}.pusher", bench.scene.name)]).unwrap();
    assert!(!beside.contains(secret), "the key is in what an engine tells");
    // A build of this very job comes through, and the forged path does not.
    let names = paths(&bench.scene.job(&two_builds("honest")).unwrap());
    bench.until("the honest build is pushed", |uploads| {
        uploads["waiting"] == 0 && uploads["pushed"].as_u64() >= Some(2)
    });
    assert!(cache.join(narinfo(&names[1])).exists());
    let forged = log.lines().find_map(|line| line.split("forged ").nth(1)).unwrap().trim();
    assert!(!cache.join(narinfo(forged)).exists(), "{forged} was pushed");
    bench.scene.down().unwrap();
}

#[test]
fn podman_down_waits_for_the_last_uploads_and_another_key_makes_another_pusher() {
    let bench = Bench::new("last");
    let cache = bench.folder.path().join("cache");
    bench.up(cache.to_str().unwrap(), "no");
    let pusher = format!("{}.pusher", bench.scene.name);
    let id = || bench.scene.engine.fact(&pusher, "/Id").unwrap();
    let first = id();
    bench.up(cache.to_str().unwrap(), "no");
    assert_eq!(id(), first, "nothing changed");
    fs::remove_file(bench.key()).unwrap();
    fs::remove_file(bench.folder.path().join("key.pub")).unwrap();
    bench.make_key("up-2");
    bench.up(cache.to_str().unwrap(), "no");
    assert_ne!(id(), first);
    let names = paths(&bench.scene.job(&two_builds("last")).unwrap());
    let down = bench.scene.run(&["down", &bench.scene.name]).unwrap();
    succeeded(&down).unwrap();
    let told = String::from_utf8_lossy(&down.stderr);
    assert!(told.contains("nothing waits"), "{told}");
    let text = fs::read_to_string(cache.join(narinfo(&names[1]))).unwrap();
    assert!(text.contains("Sig: up-2:"), "{text}");
    let left = bench.scene.engine.said(&["ps", "--all", "--format", "{{.Names}}"]).unwrap();
    assert!(!left.contains("vega-last"), "{left}");
}

#[test]
fn podman_a_mistake_in_the_caches_settings_is_told_before_anything_is_made() {
    let bench = Bench::new("mistake");
    let key = bench.key();
    let key = key.to_str().unwrap();
    for (flags, says) in [
        (vec!["--cache-to", "ftp://x"], "ftp://x"),
        (vec!["--cache-to", "/srv/x", "--cache-key", "/nonexistent"], "/nonexistent"),
        (vec!["--cache-to", "/srv/x", "--cache-compression", "bzip2"], "bzip2"),
        (vec!["--cache-to", "/srv/x", "--cache-wait", "week"], "week"),
        (vec!["--cache-to", "/srv/x", "--cache-allow-secrets", "everything:x"], "everything:x"),
        (vec!["--cache-key", key], "--cache-to"),
    ] {
        let output =
            bench.scene.run(&[&["up", bench.scene.repository.as_str()], &flags[..]].concat()).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(says), "{flags:?}: {error}");
    }
    assert!(!bench.scene.engine.containers().unwrap().contains(&bench.scene.name));
}

#[test]
fn podman_a_container_that_only_has_the_pushers_name_is_left_alone() {
    let bench = Bench::new("squatted");
    let (name, squatter) = (&bench.scene.name, format!("{}.pusher", bench.scene.name));
    bench.scene.up(&[]).unwrap();
    let image = bench.scene.engine.said(&["inspect", "--format", "{{.Image}}", name]).unwrap();
    bench.scene.engine.said(&["create", "--name", &squatter, image.trim()]).unwrap();
    let key = bench.key();
    let cache = ["--cache-to", "/tmp/nowhere", "--cache-key", key.to_str().unwrap()];
    let output = bench.scene.run(&[&["up", &bench.scene.repository][..], &cache].concat()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(&squatter) && said.contains("not ours"), "{said}");
    bench.scene.down().unwrap();
    assert!(bench.scene.engine.exists(&squatter), "down took somebody else's container");
    bench.scene.engine.said(&["rm", &squatter]).unwrap();
}
