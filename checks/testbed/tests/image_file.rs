//! An image that comes from a folder: no registry is asked, and its signature counts as much.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use simulator::sigstore::{Identity, attach_in_layout};
use testbed::{
    layout,
    scene::{Scene, succeeded},
};

/// Nobody serves it: the folder alone has it.
const NAME: &str = "registry.invalid/octo-org/runner:v1";

fn copy(scene: &Scene) -> PathBuf {
    let folder = scene.folder.path().join("layout");
    let _ = fs::remove_dir_all(&folder);
    let copied = Command::new("cp").arg("-a").arg(layout::demo_image()).arg(&folder).status().unwrap();
    assert!(copied.success());
    folder
}

fn signed(scene: &Scene) -> PathBuf {
    let folder = copy(scene);
    let bundle = scene.authority.sign(&scene.digest, &Identity::vega()).unwrap();
    attach_in_layout(&folder, "v1", &bundle).unwrap();
    folder
}

fn run(scene: &Scene, arguments: &[&str], folder: &Path) -> Output {
    let mut command = scene.command(arguments);
    command.env("VEGA_BUILDER_IMAGE", NAME).env("VEGA_BUILDER_IMAGE_FILE", folder).output().unwrap()
}

#[test]
fn podman_an_image_of_a_folder_runs_without_a_registry_and_is_verified_before_every_start() {
    let mut scene = Scene::unsigned("folder", &layout::demo_image(), "podman").unwrap();
    scene.registry.stop();
    let folder = signed(&scene);
    succeeded(&run(&scene, &["up", &scene.repository], &folder)).unwrap();
    assert!(scene.job("echo HERE").unwrap().contains("HERE"));
    let said = succeeded(&run(&scene, &["prepare", &scene.name], &folder)).unwrap();
    assert!(said.contains("is verified"), "{said}");
    // Typed again, nothing is made anew.
    let before = scene.engine.fact(&scene.name, "/Id").unwrap();
    succeeded(&run(&scene, &["up", &scene.repository], &folder)).unwrap();
    assert_eq!(scene.engine.fact(&scene.name, "/Id").unwrap(), before);
    let pinned = succeeded(&run(&scene, &["verify"], &folder)).unwrap();
    assert_eq!(pinned.trim(), format!("registry.invalid/octo-org/runner@{}", scene.digest));
    scene.down().unwrap();
}

#[test]
fn podman_a_folder_that_is_not_what_was_signed_is_refused_and_nothing_runs() {
    let mut scene = Scene::unsigned("bad-folder", &layout::demo_image(), "podman").unwrap();
    scene.registry.stop();
    let refused = |folder: &Path, code: i32, words: &[&str]| {
        let output = run(&scene, &["up", &scene.repository], folder);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is missing in: {said}");
        }
        assert!(!scene.engine.exists(&scene.name));
    };
    // Nobody signed it.
    refused(&copy(&scene), 3, &[]);

    // A blob whose content is not its digest's.
    let folder = signed(&scene);
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let blob = |entry: &Value| {
        folder.join("blobs/sha256").join(entry["digest"].as_str().unwrap().trim_start_matches("sha256:"))
    };
    let list = blob(&index["manifests"][0]);
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("linux", "Linux")).unwrap();
    refused(&folder, 3, &["is not what its digest says"]);

    // The signature is gone.
    let folder = signed(&scene);
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let hex = index["manifests"][1]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    fs::remove_file(folder.join("blobs/sha256").join(hex)).unwrap();
    refused(&folder, 3, &[]);

    // Another name's image, a folder that is none, and a pipe that would hold us up for ever.
    let folder = signed(&scene);
    let output = scene
        .command(&["up", &scene.repository, "--image", "registry.invalid/octo-org/runner:v2"])
        .env("VEGA_BUILDER_IMAGE_FILE", &folder)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    refused(Path::new("/gone"), 4, &["/gone"]);
    fs::remove_file(folder.join("index.json")).unwrap();
    nix::unistd::mkfifo(&folder.join("index.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&folder, 4, &["is no plain file"]);
    assert_eq!(scene.github.minted(), 0);
}
