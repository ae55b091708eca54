//! The NixOS module gives its containers what `install` gives its own: compared by the module's committed snapshots.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use super::{Cli, Container, Handover, Layout, UserNamespace, docker::Docker, podman::Podman};
use crate::{
    commands::steps::container::environment,
    config::{Host, Settings},
    systemd::{PusherUnit, Slots, Unit, UpdateTimer, Writer},
    trust::Verified,
    value::{ByteSize, ImageDigest, RunnerName},
};

const HOST: Host = Host { memory: ByteSize::gib(64), processors: 16, pids: 4_194_304 };

fn snapshot(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("checks/nix/snapshots/{name}.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// What the module declares in /etc, read as a unit reads it.
fn settings(told: &Value, name: &RunnerName) -> Settings {
    let content = &told["etc"][format!("vega-builder/runners/{name}.toml")]["source"]["content"];
    let text = toml::to_string(content).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("{name}.toml"));
    fs::write(&file, text).unwrap();
    Settings::declared(&file, name, &HOST).unwrap()
}

fn container(settings: &Settings, unconfined: bool) -> Container {
    let name = &settings.name;
    let digest: ImageDigest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    Container {
        name: name.clone(),
        image: Verified::for_test(digest),
        image_name: "example.com/image".to_owned(),
        local_id: "0".repeat(64),
        layout: Layout::Contract,
        caps: settings.caps,
        network: settings.network.clone(),
        patience: settings.patience,
        env: environment(settings, Layout::Contract),
        userns: settings.userns_base.map(|base| UserNamespace { base }),
        handover: Handover(format!("/run/vega-builder/{name}").into()),
        seccomp: format!("/var/lib/vega-builder/{name}/seccomp.json").into(),
        unconfined,
        slice: None,
        slot: None,
    }
}

/// The module's container in the words of podman's command line.
fn options(declared: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pairs = |key: &str| {
        declared[key].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()))
    };
    let list = |key: &str| declared[key].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let mut options = BTreeSet::from([format!("--hostname={}", text(&declared["hostname"]))]);
    options.extend(pairs("environment").map(|(name, value)| format!("--env={name}={}", text(&value))));
    options.extend(pairs("labels").map(|(name, value)| format!("--label={name}={}", text(&value))));
    options.extend(
        pairs("capabilities")
            .map(|(name, value)| format!("--cap-{}={name}", if value == true { "add" } else { "drop" })),
    );
    options.extend(list("volumes").into_iter().map(|volume| format!("--volume={volume}")));
    options.extend(list("networks").into_iter().map(|network| format!("--network={network}")));
    options.extend(list("extraOptions"));
    options
}

/// A container as `install` makes one, and its options, for tests of what is written of them.
pub fn for_test(is_podman: bool) -> (Container, Vec<String>) {
    let told = snapshot("every-option");
    let mut container = container(&settings(&told, &"heavy".parse().unwrap()), false);
    container.env.insert(crate::contract::env::EXTRA_KEYS, "a \"quoted\" 50% $key".to_owned());
    let engine = if is_podman { Cli::new(Arc::new(Podman)) } else { Cli::new(Arc::new(Docker)) };
    let options = engine.unit_options(&container);
    (container, options)
}

#[test]
fn the_modules_containers_are_made_as_those_of_install() {
    let engine = Cli::new(Arc::new(Podman));
    for (name, unconfined) in
        [("least", false), ("every-option", true), ("several", false), ("organization", false)]
    {
        let told = snapshot(name);
        let containers = told["containers"].as_object().unwrap();
        assert!(!containers.is_empty());
        for (name, declared) in containers {
            let name: RunnerName = name.parse().unwrap();
            let settings = settings(&told, &name);
            let ours: BTreeSet<String> =
                engine.unit_options(&container(&settings, unconfined)).into_iter().collect();
            let mut theirs = options(declared);
            let slice = format!("--cgroup-parent={}", crate::systemd::slice_name(&name));
            assert!(theirs.remove(&slice), "{theirs:?} has not {slice}");
            assert_eq!(theirs, ours, "{name}");
            assert_eq!(declared["image"], super::local_name(&name).as_str());
            assert_eq!(declared["pull"], "never");
            assert_eq!(declared["podman"]["sdnotify"], "container");
        }
    }
}

#[test]
fn the_modules_units_ask_what_those_of_install_ask() {
    for name in ["least", "every-option", "several"] {
        let told = snapshot(name);
        for (service, unit) in told["services"].as_object().unwrap() {
            let runner = service.strip_prefix("vega-builder-").unwrap();
            if runner.ends_with(".pusher") || runner.ends_with(".update") {
                continue;
            }
            let commands = |key: &str| match &unit["serviceConfig"][key] {
                Value::Array(list) => list.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
                one => vec![one.as_str().unwrap().to_owned()],
            };
            for (key, verb) in [
                ("ExecCondition", format!("vega-builder can-start {runner}")),
                ("ExecStartPre", format!("vega-builder prepare {runner}")),
                ("ExecStartPost", format!("vega-builder prove {runner}")),
                ("ExecReload", format!("vega-builder prepare --ahead {runner}")),
            ] {
                // Before what oci-containers does itself.
                assert!(commands(key)[0].ends_with(&verb), "{key}: {:?}", commands(key));
            }
            assert!(commands("ExecReload")[1].ends_with(&format!("kill --signal=HUP {runner}")));
            assert_eq!(unit["reloadIfChanged"], true, "a switch would kill the job");
        }
    }
}

/// The keys and values of a unit's section, as systemd reads them, from the module's words.
fn section_of(unit: &Value, section: &str) -> BTreeSet<String> {
    let text = |value: &Value| match value {
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = |(key, value): (&String, &Value)| match value {
        Value::Array(list) if key == "LoadCredential" || key == "ExecReload" => {
            list.iter().map(|one| format!("{key}={}", text(one))).collect()
        }
        Value::Array(list) => vec![format!("{key}={}", list.iter().map(text).collect::<Vec<_>>().join(" "))],
        one => vec![format!("{key}={}", text(one))],
    };
    unit[section].as_object().unwrap().iter().flat_map(line).collect()
}

#[test]
fn the_modules_pushers_are_those_of_install() {
    let told = snapshot("every-option");
    let name: RunnerName = "heavy".parse().unwrap();
    let settings = settings(&told, &name);
    let cache = settings.cache.unwrap();
    assert_eq!((cache.upstreams.len(), cache.compression.as_str()), (2, "xz"));
    let volume =
        |what: &str| PathBuf::from(format!("/var/lib/containers/storage/volumes/heavy-{what}/_data"));
    let ours = PusherUnit {
        writer: Writer::Install,
        hidden: Vec::new(),
        name: name.clone(),
        program: "/package/vega-builder/bin/vega-builder".into(),
        store: volume("store").join("store"),
        queue: volume("queue"),
        settings: "/var/lib/vega-builder/heavy/cache.json".into(),
        key: cache.key_file,
        login: cache.login_file,
        folder: None,
        patience: settings.patience.0,
    };
    let text = ours.service();
    let section = text.split("[Service]\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let ours: BTreeSet<String> = section.lines().map(str::to_owned).collect();
    let unit = &told["services"]["vega-builder-heavy.pusher"];
    assert_eq!(section_of(unit, "serviceConfig"), ours);
    assert_eq!(unit["before"][0], "vega-builder-heavy.service");
    let wants = told["services"]["vega-builder-heavy"]["wants"].as_array().unwrap();
    assert!(wants.iter().any(|wanted| wanted == "vega-builder-heavy.pusher.service"), "{wants:?}");
}

#[test]
fn the_modules_slots_are_those_of_install() {
    let told = snapshot("slots");
    let name: RunnerName = "slots".parse().unwrap();
    let settings = settings(&told, &name);
    let container = container(&settings, false);
    let ours = Unit {
        container: &container,
        options: vec![],
        engine: "/package/podman/bin/podman".into(),
        is_podman: true,
        is_quadlet: true,
        has_slices: true,
        program: "/package/vega-builder/bin/vega-builder".into(),
        credential: Some(("github-token", "/etc/vega-builder/github-token".into())),
        pusher: None,
        slots: Slots::of(settings.ephemeral, settings.nix.store),
    };
    let files = ours.files();
    let section = |file: &str, section: &str| -> BTreeSet<String> {
        let (_, text) = files.iter().find(|(path, _)| path.ends_with(file)).unwrap();
        let text = text.split(&format!("[{section}]\n")).nth(1).unwrap().split("\n\n").next().unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let unit = &told["services"]["vega-builder-slots"];
    assert_eq!(section_of(unit, "serviceConfig"), section("vega-builder-slots.service", "Service"));
    let slice = &told["slices"]["vegabuilder_slots"];
    assert_eq!(section_of(slice, "sliceConfig"), section("vegabuilder_slots.slice", "Slice"));
    assert_eq!(unit["reloadIfChanged"], true, "a switch would kill the job");
    assert!(told["containers"].get("slots").is_none() && told["paths"].get("vega-builder-slots").is_none());
}

#[test]
fn the_modules_updates_are_those_of_install() {
    let told = snapshot("several");
    let name: RunnerName = "second".parse().unwrap();
    let settings = settings(&told, &name);
    let update = settings.update.as_ref().unwrap();
    let program = "/package/vega-builder/bin/vega-builder".into();
    let ours = UpdateTimer { name: &name, program, settings: update };
    let section = |text: String, section: &str| -> BTreeSet<String> {
        let text =
            text.split(&format!("[{section}]\n")).nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let unit = &told["services"]["vega-builder-second.update"];
    assert_eq!(section_of(unit, "serviceConfig"), section(ours.service(), "Service"));
    let timer = &told["timers"]["vega-builder-second.update"];
    assert_eq!(section_of(timer, "timerConfig"), section(ours.timer(), "Timer"));
    assert_eq!(timer["wantedBy"][0], "timers.target");
    assert_eq!(told["timers"].as_object().unwrap().len(), 1, "the others said nothing of updates");
}
