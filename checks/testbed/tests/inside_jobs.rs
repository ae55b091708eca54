//! From one job to the next: nothing and nobody of the first is there when the second begins.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use testbed::{
    by_hand::{field, listener, mint, outcome, processes, push, remove, run, until_said},
    scene::{Scene, succeeded},
};

/// Starts a process that is always another one: it forks and ends, for ever. It carries no file with it.
const CHAIN: &str = r#"
export LINK='
  if [ -n "$REPORT" ]; then
    exec 3<>"/dev/tcp/127.0.0.1/$REPORT" && echo alive >&3
    cat /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n" | grep -a ^ACTIONS_RUNNER_INPUT_TOKEN= >&3
    exec 3>&-
  fi
  sleep 0.01
  setsid bash -c "$LINK" chain-link & exit'
for n in 1 2 3 4; do setsid bash -c "$LINK" chain-link >/dev/null 2>&1 & done
sleep 1
grep -aqs chain-link /proc/[0-9]*/cmdline && echo THE CHAIN LIVES
"#;

#[test]
fn podman_a_chain_of_forking_processes_is_gone_before_the_next_job() {
    let scene = Scene::new("chain").unwrap();
    scene.up(&[]).unwrap();
    let first = scene.job(CHAIN).unwrap();
    assert!(first.contains("THE CHAIN LIVES"), "{first}");
    // Looks at itself too: the pattern does not fit its own command line.
    let second =
        scene.job("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -ac 'chain-[l]ink' || true").unwrap();
    assert_eq!(second.lines().next_back(), Some("0"), "{second}");
    scene.down().unwrap();
}

#[test]
fn podman_a_job_that_has_the_registration_deleted_does_not_see_the_next_token() {
    let scene = Scene::new("token-thief").unwrap();
    scene.up(&[]).unwrap();
    let (port, heard) = reports();
    scene.job(&format!("export REPORT={port}\n{CHAIN}")).unwrap();
    assert!(heard.lock().unwrap().contains(&"alive".to_owned()), "the thief can report");
    scene.github.forget(&scene.name);
    let state = Path::new("/run/vega-builder").join(&scene.name).join("state.json");
    let waits = || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("waiting-for-token"));
    scene.github.until(Duration::from_secs(60), waits).unwrap();
    heard.lock().unwrap().clear();
    succeeded(&scene.run(&["register", &scene.name]).unwrap()).unwrap();
    scene.until_online(true).unwrap();
    assert!(heard.lock().unwrap().is_empty(), "{:?}", heard.lock().unwrap());
    scene.down().unwrap();
}

/// Every line that somebody sends to a port of ours.
fn reports() -> (u16, Arc<Mutex<Vec<String>>>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in server.incoming().flatten() {
            let lines = BufReader::new(stream).lines().map_while(Result::ok);
            shared.lock().unwrap().extend(lines);
        }
    });
    (port, heard)
}

#[test]
fn podman_every_job_has_a_listener_of_its_own_and_the_state_is_listening_again_at_once() {
    let scene = Scene::new("lives").unwrap();
    scene.up(&[]).unwrap();
    let state = Path::new("/run/vega-builder").join(&scene.name).join("state.json");
    let listens = || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("\"listening\""));
    let mut lives = Vec::new();
    for _ in 0..3 {
        scene.github.until(Duration::from_secs(3), listens).unwrap();
        lives.extend(listener(&scene));
        scene.job("true").unwrap();
    }
    let count = lives.len();
    lives.dedup();
    assert_eq!((lives.len(), count), (3, 3), "{lives:?}");
    scene.github.until(Duration::from_secs(3), listens).unwrap();
    let environment = std::fs::read(format!("/proc/{}/environ", listener(&scene).unwrap())).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("DOTNET_EnableDiagnostics=0"));
    scene.down().unwrap();
}

#[test]
fn podman_a_job_that_stops_its_listener_stops_it_for_a_moment_and_the_next_job_runs() {
    let scene = Scene::new("stopped").unwrap();
    scene.up(&[]).unwrap();
    let before = listener(&scene).unwrap();
    let stop = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm 2>/dev/null)\" != Runner.Listener ] || kill -STOP ${p#/proc/}; done";
    scene.github.enqueue(push(&scene, stop));
    until_said(&scene, "the listener was stopped by a signal: it goes on");
    assert_eq!(outcome(&scene, push(&scene, "true")).result, "Succeeded");
    assert_ne!(listener(&scene), Some(before));
    scene.down().unwrap();
}

#[test]
fn podman_what_a_job_left_in_its_home_and_in_shared_folders_is_gone_before_the_next() {
    let scene = Scene::new("traces").unwrap();
    scene.up(&[]).unwrap();
    scene
        .job(
            "mkdir -p ~/.config/nix /tmp/closed /tmp/d && echo x >~/.bashrc && echo x >~/.config/nix/nix.conf
             echo x >/tmp/closed/file && chmod 0 /tmp/closed && ln -s /etc /tmp/d/link && ln -s /etc/passwd ~/link
             cd /tmp/d && mkdir -p $(printf 'd/%.0s' $(seq 1900))
             echo x >/dev/shm/x; echo x >/var/tmp/x; echo x >$RUNNER_TEMP/../left; chmod 0 ~
             ipcmk -M 4096 && ipcmk -S 1 && ipcmk -Q",
        )
        .unwrap();
    let seen =
        scene.job("ls -A ~ /tmp /var/tmp /dev/shm ~/actions-runner/_work; test -s /etc/passwd").unwrap();
    for trace in [".bashrc", ".config", "link", "closed", "left"] {
        assert!(!seen.lines().any(|line| line == trace), "{trace}: {seen}");
    }
    assert!(!seen.lines().any(|line| line == "x" || line == "d"), "{seen}");
    let shared = scene
        .job("cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg | grep -vc key || true")
        .unwrap();
    assert_eq!(shared.lines().next_back(), Some("0"), "{shared}");
    scene.down().unwrap();
}

#[test]
fn podman_orphans_are_buried() {
    let scene = Scene::new("orphans").unwrap();
    scene.up(&[]).unwrap();
    // While the job runs: no end of a listener is needed.
    let job = "for n in $(seq 50); do setsid sh -c 'sleep 0.2 & sleep 0.1 &' & done; wait; sleep 2
               grep -hs ^State: /proc/[0-9]*/status | grep -c Z || true";
    let log = scene.job(job).unwrap();
    assert_eq!(log.lines().next_back(), Some("0"), "{log}");
    let zombies = || processes(&scene).iter().filter(|(_, s)| field(s, "State").starts_with('Z')).count();
    scene.github.until(Duration::from_secs(5), || zombies() == 0).unwrap();
    scene.down().unwrap();
}

/// A build whose output has this many MiB, and which nothing holds afterwards.
fn large_build(mib: u32) -> String {
    format!(
        r#"busybox=$(ls -d /nix/store/*busybox*/bin/busybox | head -n 1)
cat >build.nix <<NIX
derivation {{
  name = "large";
  system = builtins.currentSystem;
  builder = builtins.storePath "${{busybox%/bin/busybox}}" + "/bin/busybox";
  args = [ "sh" "-c" "$busybox dd if=/dev/zero of=\$out bs=1048576 count={mib}" ];
}}
NIX
nix-build --no-out-link build.nix --option substitute false"#
    )
}

#[test]
fn podman_a_store_over_its_disk_budget_is_collected_between_two_jobs() {
    let scene = Scene::new("budget").unwrap();
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(&scene));
    run(&scene, &[&token, "VEGA_NIX_SANDBOX=false", "VEGA_BUILDER_DISK=60m"]);
    scene.until_online(true).unwrap();
    let built = scene.job(&large_build(100)).unwrap();
    let path = built.lines().rev().find(|line| line.starts_with("/nix/store/")).unwrap().to_owned();
    until_said(&scene, "may hold 60 MiB: collecting garbage");
    // The next job finds it gone, and the runner's own closure whole.
    let next = scene.job(&format!("test ! -e {path} && nix-store --version")).unwrap();
    assert!(next.contains("nix-store"), "{next}");
    remove(&scene);
}

#[test]
fn podman_a_store_that_stays_over_its_budget_takes_no_job() {
    let scene = Scene::new("over-budget").unwrap();
    let token = format!("GITHUB_RUNNER_TOKEN={}", mint(&scene));
    run(&scene, &[&token, "VEGA_NIX_SANDBOX=false", "VEGA_BUILDER_DISK=1m"]);
    until_said(&scene, "more than its disk budget of 1 MiB: raise `--disk` on the host; next try in 60 s");
    assert!(scene.github.runners().is_empty(), "full is offline");
    remove(&scene);
}
