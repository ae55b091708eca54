//! A runner on a host itself, without a container: the same walls around its jobs, as far as a host has them.

use testbed::{bare_host, by_hand, scene::Scene, scripts::sandboxed_build};

fn job(scene: &Scene, script: &str) -> String {
    let outcome = bare_host::outcome(scene, script).unwrap();
    assert_eq!(outcome.result, "Succeeded", "{}", outcome.log);
    outcome.log
}

#[test]
fn podman_on_a_host_jobs_build_in_the_sandbox_with_the_hosts_nix_and_leave_nothing() {
    let scene = Scene::new("bare-host").unwrap();
    bare_host::start(&scene, "").unwrap();
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
