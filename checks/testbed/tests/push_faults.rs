//! `push` through what can go wrong: a busy server, a cut line, a kill, a full disk, a garbage collection, little memory.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use simulator::{
    cache::Server,
    fault::{Fault, Kind},
};
use testbed::{
    pushing::{PushBench, hash, result},
    scene::{program, succeeded},
};

#[test]
fn a_cache_that_is_busy_or_cuts_the_line_gets_all_of_it_all_the_same() {
    let bench = PushBench::new().unwrap();
    let lower = bench.store.add("lower", &[], |path| fs::write(path, vec![3; 9 << 20])).unwrap();
    let upper = bench.store.file("upper", &[&lower]).unwrap();
    let cache = Server::start().unwrap();
    cache.faults.add(Fault::status("GET", "narinfo", 503, &[("retry-after", "1")]));
    cache.faults.add(Fault::status("PUT", "nar/", 500, &[]).times(2));
    cache.faults.add(Fault::new("PUT", "narinfo", Kind::DropReply));
    cache.faults.add(Fault::status("PUT", "narinfo", 429, &[]));
    let began = Instant::now();
    succeeded(&bench.push(cache.url(), &[&upper], &[])).unwrap();
    assert!(began.elapsed().as_secs_f32() > 1.0, "Retry-After was not honoured");
    for path in [&lower, &upper] {
        assert!(cache.file(&format!("{}.narinfo", hash(path))).is_some());
    }
    // A refusal is no fault that passes: said once, with its reason.
    let other = bench.store.file("other", &[]).unwrap();
    cache.faults.add(Fault::status("PUT", "nar/", 403, &[]).times(9));
    let output = bench.push(cache.url(), &[&other], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("403"), "{output:?}");
    assert_eq!(cache.faults.requests().iter().filter(|one| one.status == 403).count(), 1);
}

#[test]
fn a_push_that_was_killed_goes_on_where_it_was() {
    let bench = PushBench::new().unwrap();
    let mut below = bench.store.file("p0", &[]).unwrap();
    for number in 1..30 {
        below = bench.store.file(&format!("p{number}"), &[&below]).unwrap();
    }
    let cache = Server::start().unwrap();
    // Each narinfo takes its time: the kill comes in the middle.
    let slow = Kind::Delay(Duration::from_millis(60));
    cache.faults.add(Fault::new("PUT", "narinfo", slow).times(30));
    let mut child = Command::new(program())
        .args(["push", "--store", &bench.store.url(), "--to", cache.url(), "--upstream", "", &below])
        .spawn()
        .unwrap();
    let announced = || cache.names().iter().filter(|name| name.ends_with(".narinfo")).count();
    let deadline = Instant::now() + Duration::from_secs(60);
    while announced() < 8 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let had = announced();
    assert!((8..30).contains(&had), "{had}");
    let told = result(&succeeded(&bench.push(cache.url(), &[&below], &[])).unwrap()).unwrap();
    assert!(told["present"].as_u64().unwrap() >= had as u64, "{told}");
    assert_eq!(announced(), 30);
}

#[test]
fn a_cache_that_wants_a_length_gets_it_for_a_large_path() {
    let bench = PushBench::new().unwrap();
    let large = bench.store.add("large", &[], |path| fs::write(path, vec![3; 9 << 20])).unwrap();
    let cache = Server::start().unwrap();
    cache.faults.add(Fault::status("PUT", "nar/", 411, &[]));
    succeeded(&bench.push(cache.url(), &[&large], &[])).unwrap();
    assert!(cache.file(&format!("{}.narinfo", hash(&large))).is_some());
}

#[test]
fn a_garbage_collection_in_the_middle_takes_nothing_of_what_is_pushed() {
    let bench = PushBench::new().unwrap();
    let mut below = bench.store.file("p0", &[]).unwrap();
    for number in 1..80 {
        below = bench.store.file(&format!("p{number}"), &[&below]).unwrap();
    }
    let unheld = bench.store.file("unheld", &[]).unwrap();
    let cache = Server::start().unwrap();
    let slow = Kind::Delay(Duration::from_millis(1500));
    cache.faults.add(Fault::new("PUT", "nar/", slow).times(80));
    thread::scope(|scope| {
        let push = scope.spawn(|| bench.push(cache.url(), &[&below], &[]));
        // The first NAR is on its way, and most have not been read.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !cache.names().iter().any(|name| name.starts_with("nar/")) {
            assert!(Instant::now() < deadline, "nothing was pushed");
            thread::sleep(Duration::from_millis(5));
        }
        bench.store.collect_garbage().unwrap();
        assert!(!bench.store.real(&unheld).exists() && bench.store.real(&below).exists());
        let told = result(&succeeded(&push.join().unwrap()).unwrap()).unwrap();
        assert_eq!(told["pushed"].as_array().unwrap().len(), 80);
    });
    // Nothing holds them any longer.
    bench.store.collect_garbage().unwrap();
    assert!(!bench.store.real(&below).exists());
}

#[test]
fn a_large_path_is_pushed_in_little_memory() {
    let bench = PushBench::new().unwrap();
    // No two blocks alike, so that it stays large.
    let large = bench.store.add("large", &[], |path| {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        fs::write(path, (0..(400 << 20) / 8).flat_map(|_| next()).collect::<Vec<u8>>())
    });
    let large = large.unwrap();
    let to = bench.cache();
    let mut child = Command::new(program())
        .args(["push", "--store", &bench.store.url(), "--upstream", "", &large, "--to"])
        .arg(&to)
        .spawn()
        .unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kib.unwrap_or_default());
        thread::sleep(Duration::from_millis(20));
    }
    println!("{} MiB", most >> 10);
    assert!((1..128 << 10).contains(&most), "{} MiB", most >> 10);
    assert!(to.join(format!("{}.narinfo", hash(&large))).exists());
}

#[test]
fn a_full_disk_leaves_nothing_half_done_and_the_same_push_goes_on_when_there_is_room() {
    let bench = PushBench::new().unwrap();
    let place = bench.cache();
    fs::create_dir(&place).unwrap();
    let mount = |options: &str| {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&place);
        succeeded(&mount.output().unwrap()).unwrap();
    };
    mount("size=2m");
    let small = bench.store.file("small", &[]).unwrap();
    let large = bench.store.add("large", &[], |path| fs::write(path, vec![7; 6 << 20])).unwrap();
    let top = bench.store.file("top", &[&large, &small]).unwrap();
    let none = ["--compression", "none"];
    let full = bench.push(place.to_str().unwrap(), &[&top], &none);
    let error = String::from_utf8_lossy(&full.stderr).into_owned();
    assert!(full.status.code() == Some(1) && error.contains("No space left"), "{error}");
    let files = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    assert!(files(&place.join("nar")).iter().all(|name| !name.starts_with('.')), "{:?}", files(&place));
    assert!(!place.join(format!("{}.narinfo", hash(&top))).exists());
    mount("remount,size=32m");
    succeeded(&bench.push(place.to_str().unwrap(), &[&top], &none)).unwrap();
    assert!(place.join(format!("{}.narinfo", hash(&top))).exists());
    succeeded(&Command::new("umount").arg(&place).output().unwrap()).unwrap();
}

#[test]
fn a_cache_that_restarts_in_the_middle_gets_all_of_it() {
    let bench = PushBench::new().unwrap();
    let mut paths = bench.store.files("p", 200).unwrap();
    paths.push(bench.store.add("large", &[], |path| fs::write(path, vec![3; 9 << 20])).unwrap());
    let mut cache = Server::start().unwrap();
    let slow = Kind::Delay(Duration::from_millis(40));
    cache.faults.add(Fault::new("PUT", "/", slow).times(usize::MAX));
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let mut child =
        bench.command(cache.url(), &paths, &[]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while cache.names().len() < 100 {
        assert!(Instant::now() < deadline, "nothing was pushed");
        thread::sleep(Duration::from_millis(5));
    }
    cache.restart(Duration::from_millis(300)).unwrap();
    assert!(cache.names().len() < 300, "it was over before the restart");
    assert!(child.wait().unwrap().success());
    let narinfos = cache.names().iter().filter(|name| name.ends_with(".narinfo")).count();
    assert_eq!(narinfos, 201);
}
