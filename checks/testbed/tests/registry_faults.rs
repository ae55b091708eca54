//! A registry that lies, stalls or breaks off: refused, with the reason and the right exit code.

use std::{
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use simulator::{
    fault::{Fault, Kind},
    registry::Front,
    sigstore::{Identity, attach},
};
use testbed::{
    layout::{demo_image, foreign_tiny_image, list_of, lying_list, tiny_image},
    salted::salted,
    scene::{IMAGE, Scene, succeeded},
};

const NOT_TRUSTED: i32 = 3;
const REGISTRY: i32 = 4;
const ENGINE: i32 = 6;

/// The scene's registry with a front before it.
fn front(scene: &Scene) -> Front {
    Front::of(&scene.registry.address).unwrap()
}

fn run(scene: &Scene, front: &Front, arguments: &[&str]) -> Output {
    let image = format!("{}/{IMAGE}:latest", front.address());
    scene.command(arguments).env("VEGA_BUILDER_IMAGE", image).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A scene around an image that nobody runs, signed.
fn tiny(name: &str) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::unsigned(name, &tiny_image(folder.path(), name).unwrap(), "podman").unwrap();
    scene.sign(&Identity::vega()).unwrap();
    scene
}

fn nothing_was_made(scene: &Scene) {
    assert!(!scene.engine.exists(&scene.name), "a container was created");
    assert_eq!(scene.github.minted(), 0, "a token was minted");
    assert!(!std::path::Path::new("/var/lib/vega-builder").join(&scene.name).exists(), "files were left");
}

#[test]
fn podman_a_tag_that_moves_between_two_requests_does_not_change_what_runs() {
    let scene = Scene::new("moves-between").unwrap();
    let front = front(&scene);
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    let evil = scene.registry.push(&evil, IMAGE, "evil").unwrap();
    // Whoever asks for the tag a second time gets the other image.
    let moved = Kind::Instead(format!("/v2/{IMAGE}/manifests/{evil}"));
    front.fault(Fault::new("GET", "/manifests/latest", moved.clone()).after(1).times(1000));
    front.fault(Fault::new("HEAD", "/manifests/latest", moved).times(1000));
    let up = run(&scene, &front, &["up", &scene.repository, "--output", "json", "--wait", "60"]);
    succeeded(&up).unwrap();
    let asked = front.requests().iter().filter(|request| request.path.ends_with("/manifests/latest")).count();
    assert_eq!(asked, 1, "the tag is asked for once: {:?}", front.requests());
    scene.job("test -x /bin/vega-builder").unwrap();
    assert!(String::from_utf8_lossy(&up.stdout).contains("\"ok\":true"));
    scene.down().unwrap();
}

#[test]
fn podman_another_manifest_under_the_verified_digest_is_refused() {
    let scene = Scene::new("swapped-manifest").unwrap();
    let front = front(&scene);
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    let evil = scene.registry.push(&evil, IMAGE, "evil").unwrap();
    // Ours is answered truly; the engine, which asks by digest later, is not.
    let swapped = Kind::Instead(format!("/v2/{IMAGE}/manifests/{evil}"));
    front.fault(Fault::new("GET", "/manifests/sha256:", swapped).after(1).times(1000));
    let refused = run(&scene, &front, &["up", &scene.repository, "--wait", "30"]);
    let code = refused.status.code().unwrap();
    assert!([NOT_TRUSTED, ENGINE].contains(&code), "{code}: {}", said(&refused));
    nothing_was_made(&scene);
}

#[test]
fn podman_a_layer_that_breaks_off_on_its_way_is_refused_and_the_next_try_works() {
    let folder = tempfile::tempdir().unwrap();
    let (image, layer) = salted(&demo_image(), folder.path(), "breaks-off").unwrap();
    let scene = Scene::unsigned("breaks-off", &image, "podman").unwrap();
    scene.sign(&Identity::vega()).unwrap();
    let front = front(&scene);
    front.fault(Fault::new("GET", &format!("/blobs/{layer}"), Kind::CutShort).times(20));
    let refused = run(&scene, &front, &["up", &scene.repository, "--wait", "30"]);
    assert_eq!(refused.status.code(), Some(ENGINE), "{}", said(&refused));
    nothing_was_made(&scene);
    succeeded(&run(&scene, &self::front(&scene), &["up", &scene.repository, "--wait", "60"])).unwrap();
    scene.down().unwrap();
}

#[test]
fn a_bundle_that_is_swapped_on_its_way_is_refused() {
    let scene = tiny("swapped-bundle");
    let front = front(&scene);
    // Whatever blob is asked for, another one comes: the image's own configuration, say.
    let manifest = scene.registry.manifest(IMAGE, &scene.digest).unwrap();
    let other = manifest["config"]["digest"].as_str().unwrap();
    front
        .fault(Fault::new("GET", "/blobs/", Kind::Instead(format!("/v2/{IMAGE}/blobs/{other}"))).times(1000));
    let refused = run(&scene, &front, &["verify"]);
    assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "{}", said(&refused));
}

#[test]
fn a_bundle_is_found_by_the_referrers_api_where_there_is_no_fallback_tag() {
    let scene = tiny("referrers-api");
    let front = front(&scene);
    front.play_referrers_api();
    succeeded(&run(&scene, &front, &["verify"])).unwrap();
    let asked = front.requests();
    assert!(asked.iter().any(|request| request.path.contains("/referrers/sha256:") && request.status == 200));
}

#[test]
fn an_unsigned_image_at_a_registry_with_the_referrers_api_is_unsigned() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::unsigned("api-unsigned", &tiny_image(folder.path(), "u").unwrap(), "podman").unwrap();
    let front = front(&scene);
    front.play_referrers_api();
    let refused = run(&scene, &front, &["verify"]);
    assert_eq!(refused.status.code(), Some(NOT_TRUSTED));
    assert!(said(&refused).contains("the registry has no Sigstore bundle"), "{}", said(&refused));
}

#[test]
fn a_registry_that_says_try_later_is_not_taken_for_one_without_signatures() {
    let scene = tiny("try-later");
    for (path, status) in
        [("/manifests/sha256-", 429), ("/manifests/sha256-", 503), ("/manifests/latest", 500)]
    {
        let front = front(&scene);
        front.fault(Fault::status("GET", path, status, &[]).times(1000));
        let refused = run(&scene, &front, &["verify"]);
        assert_eq!(refused.status.code(), Some(REGISTRY), "{path} {status}: {}", said(&refused));
        assert!(said(&refused).contains("run this command again"), "{}", said(&refused));
    }
}

#[test]
fn a_signature_that_is_listed_but_gone_hides_no_good_one() {
    let scene = tiny("dangling");
    let front = front(&scene);
    let bundle = scene.authority.sign(&scene.digest, &Identity::vega()).unwrap();
    attach(&scene.registry.address, IMAGE, &scene.digest, &bundle).unwrap();
    // The first of the two that the fallback tag lists was cleaned away.
    front.fault(Fault::status("GET", "/manifests/sha256:", 404, &[]));
    succeeded(&run(&scene, &front, &["verify"])).unwrap();
}

#[test]
fn an_image_that_is_not_there_or_private_is_told_apart() {
    let scene = tiny("not-there");
    let front = front(&scene);
    for (status, sentence) in [(404, "no such image"), (401, "is it private?"), (403, "is it private?")] {
        front.fault(Fault::status("GET", "/manifests/latest", status, &[]));
        let refused = run(&scene, &front, &["verify"]);
        assert_eq!(refused.status.code(), Some(REGISTRY), "{}", said(&refused));
        assert!(said(&refused).contains(sentence), "{status}: {}", said(&refused));
    }
}

#[test]
fn a_registry_that_does_not_answer_is_given_up_with_its_name() {
    let scene = tiny("silent");
    let front = front(&scene);
    front.fault(Fault::new("GET", "/manifests/latest", Kind::Delay(Duration::from_secs(50))));
    let refused = run(&scene, &front, &["verify"]);
    assert_eq!(refused.status.code(), Some(REGISTRY), "{}", said(&refused));
    assert!(said(&refused).contains(front.address()), "{}", said(&refused));
}

#[test]
fn podman_a_refusal_is_told_while_the_download_still_trickles() {
    let folder = tempfile::tempdir().unwrap();
    let (image, layer) = salted(&demo_image(), folder.path(), "trickles").unwrap();
    let scene = Scene::unsigned("trickles", &image, "podman").unwrap();
    let front = front(&scene);
    front.fault(Fault::new("GET", &format!("/blobs/{layer}"), Kind::Delay(Duration::from_secs(60))).times(5));
    let begin = std::time::Instant::now();
    let refused = run(&scene, &front, &["up", &scene.repository]);
    assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "{}", said(&refused));
    assert!(begin.elapsed() < Duration::from_secs(30), "it waited {:?} for the download", begin.elapsed());
    nothing_was_made(&scene);
}

/// A scene around an image of this layout, signed.
fn signed(name: &str, layout: fn(&Path, &str) -> anyhow::Result<PathBuf>) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::unsigned(name, &layout(folder.path(), name).unwrap(), "podman").unwrap();
    scene.sign(&Identity::vega()).unwrap();
    scene
}

#[test]
fn podman_a_list_that_lies_about_its_platform_is_refused() {
    let scene = signed("lying", lying_list);
    let refused = scene.run(&["up", &scene.repository]).unwrap();
    assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "{}", said(&refused));
    assert!(
        said(&refused).contains("its list names linux/riscv64 as the image for linux/"),
        "{}",
        said(&refused)
    );
    nothing_was_made(&scene);
}

#[test]
fn podman_an_image_of_another_machine_and_a_list_of_lists_are_refused() {
    let other = signed("other-machine", foreign_tiny_image);
    let mut nested = signed("nested", lying_list);
    let size = nested.registry.manifest(IMAGE, &nested.digest).unwrap().to_string().len();
    let outer = list_of(&nested.digest, size.try_into().unwrap());
    nested.digest = nested.registry.put_list(IMAGE, "latest", &outer).unwrap();
    nested.sign(&Identity::vega()).unwrap();
    for (scene, word) in
        [(other, "it has linux/riscv64"), (nested, "names another list where an image must be")]
    {
        let refused = scene.run(&["up", &scene.repository]).unwrap();
        assert_eq!(refused.status.code(), Some(REGISTRY), "{}", said(&refused));
        assert!(said(&refused).contains(word), "{}", said(&refused));
        nothing_was_made(&scene);
    }
}

#[test]
fn a_manifest_or_a_bundle_of_endless_size_is_not_read_to_its_end() {
    let scene = tiny("endless");
    for (path, limit) in
        [("/manifests/latest", "4096 KiB"), ("/manifests/sha256-", "4096 KiB"), ("/blobs/", "1024 KiB")]
    {
        let front = front(&scene);
        front.fault(Fault::new("GET", path, Kind::Flood(2000)).times(100));
        let begin = Instant::now();
        let refused = run(&scene, &front, &["verify"]);
        assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "{path}: {}", said(&refused));
        assert!(said(&refused).contains(&format!("more than {limit}")), "{path}: {}", said(&refused));
        assert!(begin.elapsed() < Duration::from_secs(10), "{path}: {:?}", begin.elapsed());
    }
}

#[test]
fn a_signature_on_a_later_page_of_the_referrers_api_is_found() {
    let scene = tiny("pages");
    let front = front(&scene);
    front.play_referrers_api();
    front.page_by(1);
    // The good one was attached first; the last page is the stranger's without it.
    for number in 0..4 {
        let stranger = Identity::github("mallory/x", "y.yml", &format!("refs/tags/v{number}"));
        let bundle = scene.authority.sign(&scene.digest, &stranger).unwrap();
        attach(&scene.registry.address, IMAGE, &scene.digest, &bundle).unwrap();
    }
    succeeded(&run(&scene, &front, &["verify"])).unwrap();
    let pages = front.requests().iter().filter(|request| request.path.contains("/referrers/")).count();
    assert_eq!(pages, 5);
}

#[test]
fn pages_that_lead_in_a_circle_come_to_an_end() {
    let scene = tiny("circle");
    let front = front(&scene);
    let next = format!("</v2/{IMAGE}/referrers/{}>; rel=\"next\"", scene.digest);
    front.fault(Fault::status("GET", "/referrers/", 200, &[("link", &next)]).times(1000));
    succeeded(&run(&scene, &front, &["verify"])).unwrap();
    let pages = front.requests().iter().filter(|request| request.path.contains("/referrers/")).count();
    assert!(pages <= 16, "{pages} pages");
}

#[test]
fn a_rate_limit_is_waited_for_when_it_is_short_and_told_when_it_is_long() {
    let scene = tiny("rate");
    let front = front(&scene);
    front.fault(Fault::status("GET", "/manifests/latest", 429, &[("retry-after", "1")]));
    let begin = Instant::now();
    succeeded(&run(&scene, &front, &["verify"])).unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1), "it did not wait as long as it was told");
    front.fault(Fault::status("GET", "/manifests/latest", 429, &[("retry-after", "3600")]));
    let begin = Instant::now();
    let refused = run(&scene, &front, &["verify"]);
    assert_eq!(refused.status.code(), Some(REGISTRY));
    assert!(said(&refused).contains("wait 3600 seconds"), "{}", said(&refused));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn a_registry_that_says_try_later_for_ever_is_given_up() {
    let scene = tiny("for-ever");
    for wait in ["0", "1"] {
        let front = front(&scene);
        front.fault(Fault::status("GET", "/manifests/latest", 503, &[("retry-after", wait)]).times(10_000));
        let begin = Instant::now();
        let refused = run(&scene, &front, &["verify"]);
        assert_eq!(refused.status.code(), Some(REGISTRY), "{}", said(&refused));
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
        assert!(front.requests().len() <= 4, "{} requests", front.requests().len());
    }
}

#[test]
fn an_answer_that_trickles_for_ever_is_given_up() {
    let scene = tiny("trickle");
    let front = front(&scene);
    front.fault(Fault::new("GET", "/manifests/latest", Kind::Trickle).times(9));
    let begin = Instant::now();
    let refused = run(&scene, &front, &["verify"]);
    assert_eq!(refused.status.code(), Some(REGISTRY), "{}", said(&refused));
    assert!(said(&refused).contains("cannot be reached"), "{}", said(&refused));
    assert!(begin.elapsed() < Duration::from_secs(110), "{:?}", begin.elapsed());
}

#[test]
fn a_signature_that_names_a_lost_or_huge_blob_hides_no_good_one() {
    for (name, kind) in [
        ("lost-blob", Fault::status("GET", "/blobs/", 404, &[])),
        ("huge-blob", Fault::new("GET", "/blobs/", Kind::Flood(3))),
    ] {
        let scene = tiny(name);
        let bundle = scene.authority.sign(&scene.digest, &Identity::vega()).unwrap();
        attach(&scene.registry.address, IMAGE, &scene.digest, &bundle).unwrap();
        let front = front(&scene);
        // One of the two bundles is that.
        front.fault(kind.times(1));
        succeeded(&run(&scene, &front, &["verify"])).unwrap();
    }
}

#[test]
fn a_flood_of_strangers_signatures_is_cut_and_the_refusal_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::unsigned("flood", &tiny_image(folder.path(), "flood").unwrap(), "podman").unwrap();
    for number in 0..65 {
        let stranger = Identity::github("mallory/x", "y.yml", &format!("refs/tags/v{number}"));
        scene.sign(&stranger).unwrap();
    }
    let refused = scene.run(&["verify"]).unwrap();
    assert_eq!(refused.status.code(), Some(NOT_TRUSTED));
    assert!(said(&refused).contains("more than 64 signatures are there"), "{}", said(&refused));
}

#[test]
fn what_a_stranger_wrote_does_not_paint_on_the_terminal() {
    let scene = tiny("painted");
    let stranger = Identity {
        uri: "https://github.com/mallory/x/.github/workflows/\u{1b}[2J\u{1b}[32mverified".to_owned(),
        ..Identity::vega()
    };
    let folder = tempfile::tempdir().unwrap();
    let other = tiny_image(folder.path(), "painted-other").unwrap();
    let digest = scene.registry.push(&other, IMAGE, "latest").unwrap();
    let bundle = scene.authority.sign(&digest, &stranger).unwrap();
    attach(&scene.registry.address, IMAGE, &digest, &bundle).unwrap();
    let refused = scene.run(&["verify"]).unwrap();
    assert_eq!(refused.status.code(), Some(NOT_TRUSTED));
    assert!(!said(&refused).contains('\u{1b}'), "{:?}", said(&refused));
}

#[test]
fn a_digest_that_the_registry_announces_falsely_is_refused() {
    let scene = tiny("announced");
    let front = front(&scene);
    let evil = tiny_image(scene.folder.path(), "evil").unwrap();
    let evil = scene.registry.push(&evil, IMAGE, "evil").unwrap();
    front.fault(Fault::new("GET", "/manifests/latest", Kind::Announce(evil)));
    let refused = run(&scene, &front, &["verify"]);
    assert_eq!(refused.status.code(), Some(NOT_TRUSTED), "{}", said(&refused));
    assert!(said(&refused).contains("it announces sha256:"), "{}", said(&refused));
}
