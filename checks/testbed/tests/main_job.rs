//! The main job with everything real but GitHub: signed image, registry, podman, Nix.

use testbed::scene::Scene;

#[test]
fn podman_up_runs_a_job_and_down_leaves_nothing() {
    let scene = Scene::new("main-job").unwrap();
    let said = scene.up(&[]).unwrap();
    println!("{said}");
    let log = scene.job("id; nix-store --version").unwrap();
    assert!(log.contains("uid=1001"), "{log}");
    scene.down().unwrap();
    assert!(!scene.engine.exists(&scene.name));
    assert!(scene.github.runners().is_empty());
    assert_eq!(scene.github.minted(), 1);
}
