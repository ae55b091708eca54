//! What a runner rests on changes under it: its files, and the time.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use simulator::fault::Fault;
use testbed::{
    by_hand::{mint, outcome, push, remove, run},
    scene::{Scene, succeeded},
};

use super::{MINUTE, SLACK, lines, state, until_said_within, volume};

/// A file of the image's closure, which the listener does not need to go on.
fn shell(scene: &Scene) -> PathBuf {
    let paths = fs::read_dir(volume(scene, "store").join("store")).unwrap().flatten();
    let mut found = paths.map(|entry| entry.path()).filter(|path| path.ends_with_name("busybox-static"));
    found.next().unwrap().join("bin/busybox")
}

trait EndsWithName {
    fn ends_with_name(&self, name: &str) -> bool;
}

impl EndsWithName for PathBuf {
    fn ends_with_name(&self, name: &str) -> bool {
        self.file_name().is_some_and(|found| found.to_string_lossy().ends_with(name))
    }
}

fn flip_a_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

pub fn a_closure_that_rots_while_the_runner_is_idle_is_offline(scene: &Scene) {
    scene.up(&[]).unwrap();
    // A change that changes nothing is none: somebody made two files one.
    let shell = shell(scene);
    fs::hard_link(&shell, volume(scene, "store").join("linked")).unwrap();
    thread::sleep(Duration::from_secs(45));
    assert!(scene.github.is_online(&scene.name), "{}", scene.engine.logs(&scene.name));
    flip_a_byte(&shell);
    until_said_within(scene, "is damaged: its content is not what its hash says", MINUTE);
    scene.github.until(SLACK, || !scene.github.is_online(&scene.name)).unwrap();
    assert!(state(scene).contains("\"damaged\":true"), "{}", state(scene));
    // The next command that is named there makes it whole.
    scene.up(&[]).unwrap();
    assert_eq!(outcome(scene, push(scene, "true")).result, "Succeeded");
    scene.down().unwrap();
}

pub fn a_path_of_the_closure_that_is_gone_is_offline(scene: &Scene) {
    scene.up(&[]).unwrap();
    let shell = shell(scene);
    let path = shell.parent().unwrap().parent().unwrap();
    fs::remove_dir_all(path).unwrap();
    until_said_within(scene, "which the runner needs; `vega-builder doctor` on the host says what", MINUTE);
    is_offline_and_told_once(scene, "the store lacks");
    // Whoever types what is named, and then what that names, has the runner again that there was.
    let told = String::from_utf8(scene.run(&["doctor", &scene.name]).unwrap().stdout).unwrap();
    let next =
        told.split('`').find(|word| word.starts_with("vega-builder up ")).unwrap_or_else(|| panic!("{told}"));
    succeeded(&scene.run(&next.split(' ').skip(1).collect::<Vec<_>>()).unwrap()).unwrap();
    assert!(path.is_dir());
    assert_eq!(outcome(scene, push(scene, "true")).result, "Succeeded");
    scene.down().unwrap();
}

/// Where Nix itself is what is broken, nobody can compare hashes.
pub fn a_closure_that_nix_cannot_look_at_any_more_is_offline(scene: &Scene) {
    scene.up(&[]).unwrap();
    let away = "mv $(command -v nix-store) /usr/bin/nix-store.away";
    scene.engine.said(&["exec", "--user=0", &scene.name, "sh", "-c", away]).unwrap();
    flip_a_byte(&shell(scene));
    until_said_within(scene, "have changed in the store, and Nix cannot look at them", MINUTE + SLACK);
    is_offline_and_told_once(scene, "and Nix cannot look at them");
    scene.down().unwrap();
}

fn is_offline_and_told_once(scene: &Scene, what: &str) {
    scene.github.until(SLACK, || !scene.github.is_online(&scene.name)).unwrap();
    assert!(state(scene).contains("\"damaged\":true"), "{}", state(scene));
    let events = succeeded(&scene.run(&["events", &scene.name]).unwrap()).unwrap();
    // One that starts again finds the same, and says so as its last word.
    let told = events.lines().filter(|line| line.contains(what)).count();
    assert!((1..=2).contains(&told), "{events}");
}

pub fn a_machine_whose_clock_is_off_takes_no_job_until_it_is_right(scene: &Scene) {
    let theirs = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(11);
    let date = theirs.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    scene.github.fault(Fault::status("HEAD", "/", 404, &[("date", date.as_str())]).times(1000));
    run(scene, &[&format!("GITHUB_RUNNER_TOKEN={}", mint(scene)), "VEGA_NIX_SANDBOX=false"]);
    until_said_within(scene, "s ahead of GitHub's, which takes no token of another time: set it", MINUTE);
    scene.github.until(SLACK, || !scene.github.is_online(&scene.name)).unwrap();
    scene.github.clear_faults();
    scene.github.until(MINUTE * 2 + SLACK, || scene.github.is_online(&scene.name)).unwrap();
    assert_eq!(lines(scene, "ahead of GitHub's"), 1);
    remove(scene);
}

pub fn a_runner_that_cannot_boot_gives_up_says_why_and_resume_has_it_try_again() {
    let scene = Scene::new("gives-up").unwrap();
    scene.up(&[]).unwrap();
    let began = jiff::Timestamp::now();
    scene.engine.said(&["stop", "--time", "20", &scene.name]).unwrap();
    let shell = shell(&scene);
    flip_a_byte(&shell);
    // As nine starts have left it that took half an hour together.
    let account = volume(&scene, "runner").join(".vega/events.jsonl");
    let mut log = fs::File::options().append(true).open(&account).unwrap();
    for _ in 0..9 {
        writeln!(log, r#"{{"at":"{began}","event":"stopped","why":"damaged"}}"#).unwrap();
    }
    scene.engine.said(&["start", &scene.name]).unwrap();
    until_said_within(&scene, "10 starts in a row came to nothing; the last: ", MINUTE);
    scene.github.until(SLACK, || state(&scene).contains("\"gave-up\"")).unwrap();
    let status = scene.run(&["status", &scene.name]).unwrap();
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("it tries no more") && text.contains("vega-builder resume"), "{text}");
    assert_eq!(scene.engine.fact(&scene.name, "/State/Running").unwrap(), true, "nothing spins");
    // A drain has not to wait for one that does nothing any more; and both are called off by the same word.
    succeeded(&scene.run(&["drain", &scene.name]).unwrap()).unwrap();
    flip_a_byte(&shell);
    let resumed = scene.run(&["resume", &scene.name]).unwrap();
    succeeded(&resumed).unwrap();
    assert_eq!(outcome(&scene, push(&scene, "true")).result, "Succeeded");
    scene.down().unwrap();
}
