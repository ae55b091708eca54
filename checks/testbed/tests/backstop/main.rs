//! What breaks while a runner is idle or at work: each found within a minute, handled once, told in one line. The cases run
//! side by side: most of the time is waiting.

mod fills;
mod hangs;
mod rots;
mod tidies;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use testbed::scene::Scene;

const MINUTE: Duration = Duration::from_secs(60);
/// What a busy machine adds to it.
const SLACK: Duration = Duration::from_secs(10);

fn until_said_within(scene: &Scene, what: &str, patience: Duration) -> Duration {
    let began = Instant::now();
    let said = || scene.engine.logs(&scene.name).contains(what);
    let found = scene.github.until(patience, said);
    assert!(found.is_ok(), "{what:?} after {patience:?}: {}", scene.engine.logs(&scene.name));
    began.elapsed()
}

/// How many lines of the log have this.
fn lines(scene: &Scene, what: &str) -> usize {
    scene.engine.logs(&scene.name).lines().filter(|line| line.contains(what)).count()
}

fn state(scene: &Scene) -> String {
    let path = Path::new("/run/vega-builder").join(&scene.name).join("state.json");
    fs::read_to_string(path).unwrap_or_default()
}

fn volume(scene: &Scene, what: &str) -> PathBuf {
    let volume = format!("{}-{what}", scene.name);
    scene.engine.said(&["volume", "inspect", "--format", "{{.Mountpoint}}", &volume]).unwrap().into()
}

type Case = fn(&Scene);

#[test]
fn podman_whatever_hangs_dies_rots_or_fills_up_beside_a_runner_is_found_within_a_minute() {
    let cases: [(&str, Case); 11] = [
        ("listener-hangs", hangs::a_listener_that_hangs_is_replaced),
        ("listener-stopped", hangs::a_listener_that_somebody_stopped_goes_on),
        ("daemon-killed", hangs::a_daemon_that_was_killed_is_started_again),
        ("daemon-stopped", hangs::a_daemon_that_answers_no_more_is_replaced),
        ("closure-rots", rots::a_closure_that_rots_while_the_runner_is_idle_is_offline),
        ("closure-gone", rots::a_path_of_the_closure_that_is_gone_is_offline),
        ("nix-gone", rots::a_closure_that_nix_cannot_look_at_any_more_is_offline),
        ("clock-off", rots::a_machine_whose_clock_is_off_takes_no_job_until_it_is_right),
        ("fills-bytes", fills::a_job_that_fills_the_disk_is_ended_and_the_next_one_has_room),
        ("fills-inodes", fills::a_job_that_takes_every_inode_is_ended_and_the_next_one_has_room),
        ("others-fill", fills::a_disk_that_others_fill_makes_the_runner_offline_and_loses_no_job),
    ];
    thread::scope(|scope| {
        for (name, case) in cases {
            scope.spawn(move || {
                let mut scene = Scene::new(name).unwrap();
                scene.patience = 120;
                case(&scene);
            });
        }
    });
}

#[test]
fn podman_a_store_over_its_budget_is_collected_beside_a_build_which_loses_nothing() {
    fills::a_store_over_its_budget_is_collected_beside_a_build_which_loses_nothing();
}

#[test]
fn podman_a_disk_below_min_free_is_collected_beside_a_job_and_at_the_boot_and_the_runner_goes_on() {
    tidies::a_disk_below_min_free_is_collected_beside_a_job_and_at_the_boot_and_the_runner_goes_on();
}

#[test]
fn podman_garbage_goes_by_the_calendar_while_no_job_runs() {
    tidies::garbage_goes_by_the_calendar_while_no_job_runs();
}

#[test]
fn podman_a_runner_that_cannot_boot_gives_up_says_why_and_resume_has_it_try_again() {
    rots::a_runner_that_cannot_boot_gives_up_says_why_and_resume_has_it_try_again();
}
