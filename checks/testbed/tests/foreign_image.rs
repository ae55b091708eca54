//! An image that is not ours but keeps Vega's environment contract is driven just as well.

use simulator::sigstore::Identity;
use testbed::{layout, scene::Scene, search::Search};

#[test]
fn podman_an_image_with_a_shell_entrypoint_runs_jobs_and_keeps_its_registration() {
    let scene = Scene::unsigned("foreign", &layout::foreign_image(), "podman").unwrap();
    scene.sign(&Identity::vega()).unwrap();
    scene.up(&[]).unwrap();
    let log = scene.job("id -u; ls -l /home/runner/.runner-token || echo no token").unwrap();
    assert!(log.contains("1001") && log.contains("no token"), "{log}");

    let token = scene.github.tokens().pop().unwrap();
    let mut search = Search::new(&token);
    search.container(&scene.engine, &scene.name).unwrap();
    search.processes();
    search.container_files(&scene.engine, &scene.name).unwrap();
    assert!(search.seen.is_empty(), "{:?}", search.seen);

    scene.engine.said(&["restart", "--time", "5", &scene.name]).unwrap();
    scene.until_online(true).unwrap();
    scene.up(&[]).unwrap();
    assert_eq!((scene.github.minted(), scene.github.runners().len()), (1, 1));
    scene.down().unwrap();
    assert!(!scene.engine.exists(&scene.name));
}
