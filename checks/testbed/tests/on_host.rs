//! A runner on a host itself, without a container: the same walls around its jobs, as far as a host has them.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testbed::{
    attacks::{Tries, table},
    bare_host, by_hand,
    scene::Scene,
    scripts::sandboxed_build,
    search::Search,
};

fn job(scene: &Scene, script: &str) -> String {
    let outcome = bare_host::outcome(scene, script).unwrap();
    assert_eq!(outcome.result, "Succeeded", "{}", outcome.log);
    outcome.log
}

#[test]
fn podman_on_a_host_jobs_build_in_the_sandbox_with_the_hosts_nix_and_leave_nothing() {
    let scene = Scene::new("bare-host").unwrap();
    let systemd = bare_host::start(&scene, "cache.to = \"file:///srv/cache\"").unwrap();
    bare_host::is_up(&systemd).unwrap();
    let log = job(&scene, &sandboxed_build("host"));
    assert!(log.contains("sandbox: sandboxed"), "{log}");
    let log = job(
        &scene,
        "id -un; echo $HOME; pwd; nix show-config | grep -E '^(sandbox|http-connections|post-build-hook|trusted-users) '; \
         cat /etc/nix/registry.json; echo x >$HOME/.bashrc; echo x >/tmp/left; (setsid sleep 3000 &) ; true",
    );
    for line in [
        scene.name.as_str(),
        "http-connections = 7",
        "sandbox = true",
        "post-build-hook = ",
        "trusted-users = root",
        "\"version\":2",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("/bin/false") && !log.contains(&format!("root {}", scene.name)), "{log}");
    assert!(log.contains(&format!("/var/lib/vega-builder/{}/host/home", scene.name)), "{log}");
    let log =
        job(&scene, "ls -A $HOME /tmp; ps -A -o args 2>/dev/null | grep 'sleep 300[0]' || echo NO SLEEPER");
    assert!(log.contains("NO SLEEPER") && !log.contains("left") && !log.contains(".bashrc"), "{log}");
    // The hook asks what the runner's own daemon builds with, and not what the host's would.
    let queue = format!("/var/lib/vega-builder/{}/queue", scene.name);
    let queued = bare_host::said(
        &scene,
        &format!("sleep 2; cat {queue}/ready/*.json {queue}/new/*.json 2>/dev/null; true"),
    )
    .unwrap();
    assert!(queued.contains("from-a-job-host") && !queued.contains("\"sandbox\":false"), "{queued}");
    // And nobody else on the host speaks to it.
    let alien = format!("setpriv --reuid=1001 --clear-groups ls /var/lib/vega-builder/{}/run", scene.name);
    assert!(bare_host::said(&scene, &alien).is_err());
    // Where Nix's roots lead, the host sees them lead.
    let seen =
        bare_host::said(&scene, "ls -ld /var/lib/vega-builder/*/host/runner/_work; ls /opt/actions-runner")
            .unwrap();
    assert!(seen.contains("_work") && !seen.contains(".runner"), "{seen}");
    by_hand::remove(&scene);
}

#[test]
fn podman_on_a_host_a_job_sees_nobodys_home_no_record_no_other_runner_and_no_daemon_but_its_own() {
    let scene = Scene::new("bare-walls").unwrap();
    bare_host::start(&scene, "").unwrap();
    let log = job(
        &scene,
        "set +e
         for place in /root /home/alice /run/vega-builder/vega-other /var/lib/vega-builder/vega-other /etc/vega-builder; do
           cat $place/secret && echo \"READ $place\"
         done
         ls /etc/vega-builder/runners /run/vega-builder/handover && echo READ FOLDERS
         ls /nix/var/nix/daemon-socket
         for folder in /opt/actions-runner /run/vega-builder /etc/nix $(dirname $HOME); do
           test -w $folder && echo \"WRITABLE $folder\"
         done
         for file in $(dirname $(dirname $(dirname $PWD)))/bin/Runner.Listener /etc/vega-builder/job-started.sh /etc/nix/nix.conf; do
           echo mine >$file && echo \"WROTE $file\"
         done
         cat /proc/self/status | grep -E '^(CapBnd|CapEff|NoNewPrivs):'
         echo ALL TRIED",
    );
    for bad in ["READ", "WRITABLE", "WROTE", "the host's own", "the-hosts-own"] {
        assert!(
            !log.lines().any(|line| line.starts_with(bad) || line.contains("the-hosts-own")),
            "{bad}: {log}"
        );
    }
    assert!(log.contains("socket") && log.contains("CapBnd:\t0000000000000000"), "{log}");
    assert!(log.contains("ALL TRIED"), "{log}");
    // Nobody is trusted here, whatever the host's own settings say.
    let log = job(&scene, &format!("export NIX_CONFIG='sandbox = false'\n{}", sandboxed_build("bare")));
    assert!(log.contains("sandbox: sandboxed"), "{log}");
    by_hand::remove(&scene);
}

#[test]
fn podman_on_a_host_a_job_that_collects_garbage_leaves_what_others_hold_and_others_leave_what_it_holds() {
    let scene = Scene::new("bare-roots").unwrap();
    bare_host::start(&scene, "").unwrap();
    let rooted = "echo of-alice >/home/alice/file; path=$(nix-store --add /home/alice/file); \
                nix-store --realise $path --add-root /home/alice/result --indirect >/dev/null; echo $path";
    let held = bare_host::said(&scene, rooted).unwrap();
    let garbage = bare_host::said(&scene, "echo nobodys >/file; nix-store --add /file").unwrap();
    let build = sandboxed_build("held")
        .replace("--no-out-link", "--out-link held")
        .replace("$(cat result)", "$(readlink held)");
    let script = format!(
        "nix-store --gc >/dev/null\n{build}\necho BUILT; sleep 6; test -e $(readlink held) && echo STILL HERE"
    );
    let id = scene.github.enqueue(by_hand::push(&scene, &script));
    let patience = std::time::Duration::from_secs(60);
    scene.github.until(patience, || scene.github.log_so_far(id).contains("BUILT")).unwrap();
    assert_eq!(
        bare_host::said(&scene, &format!("test -e {held} && ! test -e {garbage} && echo so")).unwrap(),
        "so"
    );
    bare_host::said(&scene, "nix-store --gc").unwrap();
    let outcome = scene.github.wait(id, patience).unwrap();
    assert!(outcome.log.contains("STILL HERE"), "{}", outcome.log);
    by_hand::remove(&scene);
}

#[test]
fn podman_on_a_host_a_runner_that_somebody_else_can_change_or_turn_a_link_to_gets_no_token() {
    let scene = Scene::new("bare-open").unwrap();
    bare_host::start(&scene, "").unwrap();
    let prepare = format!("vega-builder prepare {} --ahead 2>&1; echo \"code $?\"", scene.name);
    let judged = |change: &str, back: &str| {
        let said = bare_host::said(&scene, &format!("{change}; {prepare}; {back}")).unwrap();
        assert!(said.contains("code 9"), "{change}: {said}");
        said
    };
    let runner = "/opt/actions-runner";
    for (change, back) in [
        // As root's tar leaves it, with the numbers of whoever packed it.
        (format!("chown 1001 {runner}/bin/Runner.Worker"), format!("chown 0 {runner}/bin/Runner.Worker")),
        (format!("chmod o+w {runner}/externals/node24"), format!("chmod o-w {runner}/externals/node24")),
        ("chmod o+w /opt".to_owned(), "chmod o-w /opt".to_owned()),
    ] {
        let said = judged(&change, &back);
        assert!(said.contains("root:root") && said.contains("go-w"), "{said}");
    }
    assert!(
        judged(&format!("mv {runner} /opt/gone"), &format!("mv /opt/gone {runner}"))
            .contains("unpack it there")
    );
    // What runs was bound from where the link led at the start: another's turn of it changes nothing.
    let turn = format!("mv {runner} /opt/real; mkdir -p /home/alice/bin; ln -s /home/alice {runner}");
    bare_host::said(&scene, &turn).unwrap();
    assert!(job(&scene, "echo STILL OURS").contains("STILL OURS"));
    by_hand::remove(&scene);
}

#[test]
fn podman_on_a_host_every_attack_of_the_table_that_can_be_tried_is_refused() {
    let scene = Scene::new("bare-attacks").unwrap();
    bare_host::start(&scene, "").unwrap();
    let folder = format!("/var/lib/vega-builder/{}/host", scene.name);
    let tries = Tries::of(&table()).elsewhere(&format!("{folder}/runner"), &format!("{folder}/home"));
    tries.expect_refused(&bare_host::outcome(&scene, &tries.script()).unwrap().log);
    job(&scene, "true");
    by_hand::remove(&scene);
}

#[test]
fn podman_on_a_host_whoever_is_killed_whenever_it_is_one_runner_again_and_every_job_has_a_result() {
    let scene = Scene::new("bare-killed").unwrap();
    bare_host::start(&scene, "").unwrap();
    let minted = scene.github.minted();
    let soon = Duration::from_secs(90);
    // A daemon forks for each connection: the oldest one.
    let pid = |comm: &str| {
        let all = by_hand::processes(&scene).into_iter();
        let found = all.filter(|(_, status)| {
            let is_dead = by_hand::field(status, "State").starts_with('Z');
            by_hand::field(status, "Name") == comm && !is_dead
        });
        found.map(|(pid, _)| pid).min()
    };
    let events = || bare_host::said(&scene, &format!("vega-builder events {}", scene.name)).unwrap();
    let known = || {
        events().matches("job ended, nobody knows how").count()
            + events().matches("job succeeded after").count()
    };
    for comm in ["Runner.Listener", "nix-daemon", "vega-builder"] {
        for at_work in [false, true] {
            let point = format!("{comm}, at work: {at_work}");
            scene.github.until(soon, || scene.github.is_online(&scene.name)).unwrap();
            let (before, work) = (known(), by_hand::push(&scene, "echo AT WORK; sleep 6; echo FINISHED"));
            let job = at_work.then(|| scene.github.enqueue(work));
            let begun = || job.is_none_or(|job| scene.github.log_so_far(job).contains("AT WORK"));
            let is_there = scene.github.until(soon, || begun() && pid(comm).is_some());
            assert!(
                is_there.is_ok(),
                "{point}: {:?}\n{}",
                by_hand::processes(&scene),
                scene.engine.logs(&scene.name)
            );
            let killed = i32::try_from(pid(comm).unwrap()).unwrap();
            kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
            if comm == "vega-builder" {
                // As systemd does, which ends what is left of it first.
                scene.github.until(soon, || scene.engine.pid(&scene.name).unwrap_or_default() == 0).unwrap();
                scene.engine.said(&["start", &scene.name]).unwrap();
            }
            if let Some(job) = job {
                let result = scene.github.wait(job, soon).unwrap().result;
                assert_eq!(result, if comm == "nix-daemon" { "Succeeded" } else { "Failed" }, "{point}");
                assert!(scene.github.until(soon, || known() == before + 1).is_ok(), "{point}: {}", events());
            }
            let log = bare_host::outcome(&scene, &sandboxed_build(&format!("{comm}-{at_work}"))).unwrap().log;
            assert!(log.contains("sandbox: sandboxed"), "{point}: {log}");
        }
    }
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (minted, 1));
    for token in scene.github.tokens() {
        let mut search = Search::new(&token);
        search.processes();
        search.container_files(&scene.engine, &scene.name).unwrap();
        assert!(search.seen.is_empty(), "{:?}", search.seen);
    }
    by_hand::remove(&scene);
}

#[test]
fn podman_on_a_host_a_forks_pull_request_is_refused_and_a_restart_needs_no_token() {
    let scene = Scene::new("bare-fork").unwrap();
    bare_host::start(&scene, "").unwrap();
    let fork = by_hand::push(&scene, "echo STRANGER").from_fork();
    let outcome = by_hand::outcome(&scene, fork);
    assert!(outcome.result == "Failed" && !outcome.log.contains("STRANGER"), "{}", outcome.log);
    // The host goes down and comes back: its unit types the same again.
    let minted = scene.github.minted();
    scene.engine.said(&["restart", "--time=60", &scene.name]).unwrap();
    assert!(job(&scene, "echo AGAIN").contains("AGAIN"));
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (minted, 1));
    by_hand::remove(&scene);
}
