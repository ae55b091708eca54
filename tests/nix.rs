//! What is written in Nix: every file parses; and with nixpkgs' `lib` at hand the module is evaluated by the real module
//! system against the real oci-containers.nix, and what comes of it is compared with committed snapshots.
//!
//! `VEGA_NIXPKGS_LIB` names a checkout of nixpkgs, or of its lib alone; then `VEGA_OCI_CONTAINERS` names oci-containers.nix.
//! With `VEGA_UPDATE_SNAPSHOTS=1` the snapshots and the page of options are written instead.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn nix_instantiate(arguments: &[&str]) -> Output {
    let mut command = Command::new("nix-instantiate");
    let home = tempfile::tempdir().unwrap();
    // Nobody's store is needed to read files.
    command.args(arguments).env("HOME", home.path()).env("NIX_STATE_DIR", home.path()).env_remove("NIX_PATH");
    command.output().expect("nix-instantiate does not start: type `make setup`")
}

fn nix_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            nix_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "nix") {
            found.push(path);
        }
    }
}

#[test]
fn every_nix_file_parses() {
    let mut files = Vec::new();
    nix_files(project(), &mut files);
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let output = nix_instantiate(&["--parse", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The checkout and the file that an evaluation needs; nothing when they are not at hand, which is said aloud.
fn nixpkgs() -> Option<(String, String)> {
    let lib = env::var("VEGA_NIXPKGS_LIB").ok().filter(|path| !path.is_empty())?;
    let oci = env::var("VEGA_OCI_CONTAINERS")
        .unwrap_or_else(|_| format!("{lib}/nixos/modules/virtualisation/oci-containers.nix"));
    Some((lib, oci))
}

fn evaluate(settings: &str, what: &str) -> Option<Value> {
    let Some((lib, oci)) = nixpkgs() else {
        eprintln!("SKIPPED: the module was not evaluated; name a checkout of nixpkgs in VEGA_NIXPKGS_LIB");
        return None;
    };
    let file = project().join("checks/nix/evaluate.nix");
    let settings = project().join(format!("checks/nix/settings/{settings}.nix"));
    let arguments = ["--eval", "--strict", "--json", file.to_str().unwrap()];
    let named = ["nixpkgs", &lib, "oci", &oci, "settings", settings.to_str().unwrap(), "what", what];
    let named = named.chunks(2).flat_map(|pair| ["--argstr", pair[0], pair[1]]);
    let output = nix_instantiate(&arguments.into_iter().chain(named).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn updates() -> bool {
    env::var_os("VEGA_UPDATE_SNAPSHOTS").is_some()
}

fn snapshot(settings: &str) -> PathBuf {
    project().join(format!("checks/nix/snapshots/{settings}.json"))
}

#[track_caller]
fn agrees(settings: &str) {
    let Some(evaluated) = evaluate(settings, "config") else { return };
    let text = serde_json::to_string_pretty(&evaluated).unwrap() + "\n";
    if updates() {
        fs::write(snapshot(settings), &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(snapshot(settings)).unwrap(), "{settings}");
}

#[test]
fn the_module_not_enabled_declares_nothing() {
    agrees("off");
}

#[test]
fn the_module_declares_containers_units_slices_and_tmpfiles_as_the_snapshots_say() {
    for settings in ["least", "every-option", "several", "organization", "slots"] {
        agrees(settings);
        let told: Value = serde_json::from_str(&fs::read_to_string(snapshot(settings)).unwrap()).unwrap();
        assert!(told.get("failed").is_none(), "{settings}: {}", told["failed"]);
    }
}

#[test]
fn every_contradiction_is_told_by_its_options_name() {
    agrees("contradictions");
    let told: Value = serde_json::from_str(&fs::read_to_string(snapshot("contradictions")).unwrap()).unwrap();
    let failed: Vec<&str> = told["failed"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for option in [
        "instances.a-b.credential.tokenFile is in the Nix store",
        "instances.a-b.trust.key",
        "instances.a-b.userNamespace",
        "instances.a_b.repository is missing",
        "instances.c/d.repository and",
        "instances.a_b.runnerGroup",
        "instances.c/d.ephemeral",
        "instances.a_b.credential.githubApp.privateKeyFile is in the Nix store",
        "instances.a_b.credential.githubApp.id",
        "instances.a-b.credential.tokenFile and",
        "instances.a-b.cache.url",
        "instances.c/d.update.at and a pinned digest",
        "instances.a-b.cache.keyFile is in the Nix store",
        "instances.a-b.cache.keyFile and",
        "instances.a_b.cache.loginFile is in the Nix store",
        "instances.a_b.cache.to has a login in it",
        "instances.a_b.caps.memory",
        "instances.a_b.caps.disk",
        "instances.a_b.caps.minFree",
        "instances.c/d.trust.issuer",
        "instances.c/d.digest",
        "instances.c/d.nix.substituters",
        "instances.c/d.githubUrl",
        "\"c/d\" is no name",
        "would share the slice",
        "backend",
    ] {
        assert!(failed.iter().any(|message| message.contains(option)), "{option}: {failed:#?}");
    }
}

#[test]
fn no_credential_is_in_what_the_nix_store_would_hold() {
    // Their paths are, their content is nobody's business.
    for (settings, loaded) in [
        ("every-option", "github-app-key:/run/keys/github-app.pem"),
        ("several", "github-token:/run/keys/github-token"),
    ] {
        let text = fs::read_to_string(snapshot(settings)).unwrap();
        assert!(text.contains(&format!("\"LoadCredential\": \"{loaded}\"")), "{settings}");
    }
}

/// The flake with stand-ins for its inputs: every output is there and can be evaluated, without any network.
#[test]
fn the_flake_shows_its_outputs_and_its_checks_evaluate() {
    let Some((lib, _)) = nixpkgs() else {
        eprintln!("SKIPPED: the flake was not evaluated; name a checkout of nixpkgs in VEGA_NIXPKGS_LIB");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // A folder of its own: nix would copy this one to its store as a whole.
    let (flake, lib_flake) = (folder.path().join("flake"), folder.path().join("lib"));
    for path in ["flake.nix", "flake.lock", "Cargo.toml", "Cargo.lock", "nix", "modules", "image", "checks"] {
        copy(&project().join(path), &flake.join(path));
    }
    copy(&Path::new(&lib).join("lib"), &lib_flake.join("lib"));
    fs::write(lib_flake.join("flake.nix"), "{ outputs = _: { lib = import ./lib; }; }").unwrap();
    let stand_in = format!("path:{}", flake.join("checks/nix/stand-in").display());
    let lib = format!("path:{}", lib_flake.display());
    let nix = |arguments: &[&str]| {
        let mut command = Command::new("nix");
        command.args(["--extra-experimental-features", "nix-command flakes"]).args(arguments);
        for (input, with) in
            [("nixpkgs", &stand_in), ("nixpkgs/lib", &lib), ("runner", &stand_in), ("runner/lib", &lib)]
        {
            command.args(["--override-input", input, with]);
        }
        command.arg("--no-write-lock-file").arg(format!("path:{}", flake.display()));
        let output = command.env("HOME", folder.path()).output().expect("nix does not start");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    nix(&["flake", "check", "--no-build"]);
    let shown: Value = serde_json::from_slice(&nix(&["flake", "show", "--json"])).unwrap();
    for system in ["x86_64-linux", "aarch64-linux"] {
        for (kind, names) in [
            ("packages", ["vega-builder", "vega-builder-static", "image", "simulator"].as_slice()),
            ("apps", &["vega-builder", "default"]),
            ("devShells", &["default"]),
        ] {
            for name in names {
                assert!(
                    shown[kind][system].get(name).is_some(),
                    "{kind}.{system}.{name} is missing: {shown:#}"
                );
            }
        }
        assert!(shown["formatter"].get(system).is_some());
        // A check for every scenario, and no scenario without one.
        for entry in fs::read_dir(project().join("checks/scenarios")).unwrap().flatten() {
            // On NixOS nobody types `up`, with or without `--host`.
            if fs::read_to_string(entry.path()).unwrap().contains("\nby = \"") {
                continue;
            }
            let name = entry.path().file_stem().unwrap().to_string_lossy().into_owned();
            let check = shown["checks"][system].get(format!("nixos-{name}"));
            assert!(check.is_some(), "{system}: {name} has no check");
        }
    }
    // The same on a Debian, whose machine is made for the one architecture.
    assert!(shown["checks"]["x86_64-linux"].get("debian").is_some());
    assert!(shown["nixosModules"].get("default").is_some() && shown["overlays"].get("default").is_some());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = Command::new("cp").arg("-R").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{}", from.display());
}

#[test]
fn the_page_of_options_is_the_modules() {
    let Some(options) = evaluate("least", "options") else { return };
    let page = page(options.as_array().unwrap());
    let file = project().join("docs/nixos-options.md");
    if updates() {
        fs::write(&file, &page).unwrap();
    }
    assert_eq!(page, fs::read_to_string(&file).unwrap());
}

/// The reference, one section an option.
fn page(options: &[Value]) -> String {
    let head = "# Options of `services.vega-builder`\n\n\
                This page is made from the module itself ([nixos.md](nixos.md) is the way in). A runner in \
                `instances.<name>` has the same options, and takes what it does not say from these.\n";
    // What an instance has in common with the top is told once.
    let is_told = |option: &&Value| {
        let name = option["name"].as_str().unwrap();
        !name.contains(".instances.<name>.") || name.ends_with(".userNamespace")
    };
    head.to_owned() + &options.iter().filter(is_told).map(section).collect::<String>()
}

fn section(option: &Value) -> String {
    let text = |key: &str| option[key].as_str().map(str::trim).unwrap_or_default();
    let name = text("name").trim_start_matches("services.vega-builder.");
    let default = match text("default") {
        "" => "* no default: it must be given".to_owned(),
        default => format!("* default: `{}`", default.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    let example = match text("example") {
        "" => String::new(),
        example if example.contains('\n') => {
            format!("* example:\n\n  ```nix\n{}\n  ```\n", indented(example))
        }
        example => format!("* example: `{example}`\n"),
    };
    format!("\n## `{name}`\n\n{}\n\n* type: {}\n{default}\n{example}", text("description"), text("type"))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
