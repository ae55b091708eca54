//! What a person reads after a mistake: one sentence with the thing, the cause and the next command, and an
//! exit code by kind. Nothing is left half done.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

/// vega-builder with nothing of this machine's settings and logins.
fn vega_builder(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vega-builder"));
    command.args(arguments).env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.env("XDG_CONFIG_HOME", home).env("GH_TOKEN", "ghp_of_nobody");
    // A trusted root that nobody has to be asked for.
    command.env("VEGA_BUILDER_TRUST_POLICY", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pinned.toml"));
    command
}

#[track_caller]
fn fails(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in: {text}");
    }
    let last = text.lines().next_back().unwrap_or_default();
    assert!(last.starts_with("vega-builder: ") || code == 2, "the last line is the sentence: {text}");
    assert!(!text.contains("ghp_of_nobody"), "the login is in an error: {text}");
}

#[track_caller]
fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    fails(&vega_builder(home.path(), arguments).output().unwrap(), code, words);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn a_policy_that_is_wrong_or_gone_names_its_file_and_line() {
    let home = tempfile::tempdir().unwrap();
    let policy = home.path().join("trust.toml");
    let run = |arguments: &[&str]| {
        let mut command = vega_builder(home.path(), arguments);
        command.args(["--trust-policy"]).arg(&policy).output().unwrap()
    };
    fails(&run(&["verify", "127.0.0.1:1/x"]), 2, &["trust.toml: No such file"]);
    fs::write(&policy, "[image]\nmax-age = 3\n").unwrap();
    fails(&run(&["verify", "127.0.0.1:1/x"]), 2, &["trust.toml:2: "]);
    fs::write(&policy, "[[publisher]]\nname = \"me\"\nkey = \"gone.pub\"\n").unwrap();
    fails(&run(&["verify", "127.0.0.1:1/x"]), 2, &["the public key", "gone.pub"]);
}

#[test]
fn a_policy_that_cannot_be_seen_is_not_taken_for_none() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("vega-builder");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/gone/trust.toml", folder.join("trust.toml")).unwrap();
    let mut command = vega_builder(home.path(), &["verify", "127.0.0.1:1/x"]);
    let output = command.env_remove("VEGA_BUILDER_TRUST_POLICY").output().unwrap();
    fails(&output, 2, &["vega-builder/trust.toml: No such file"]);
}

#[test]
fn a_key_beside_an_identity_and_an_issuer_alone_are_refused() {
    let image = "127.0.0.1:1/x";
    refused(
        &["verify", image, "--key", "a.pub", "--identity", "b"],
        2,
        &["--key", "--identity", "leave one"],
    );
    refused(&["verify", image, "--issuer", "https://a"], 2, &["--issuer", "without an identity"]);
    refused(&["verify", image, "--identity", "("], 2, &["--identity: not a regular expression"]);
    refused(&["verify", image, "--key", "/gone.pub"], 2, &["/gone.pub"]);
}

#[test]
fn a_root_or_a_key_that_is_none_is_named_with_what_is_wanted() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "no root, no key\n").unwrap();
    for (flag, wanted) in [("--trusted-root", "trusted_root.json instead"), ("--key", "as PEM instead")] {
        let output =
            vega_builder(home.path(), &["verify", "127.0.0.1:1/x", flag]).arg(&file).output().unwrap();
        fails(&output, 2, &["/file cannot be used", wanted]);
    }
}

#[test]
fn a_malformed_repository_is_refused_with_the_form_to_type() {
    refused(&["up", "octo"], 2, &["OWNER/REPO: 'octo' is not a repository", "octo-org/heavy-builds"]);
    refused(&["up", "octo/a b"], 2, &["is not a repository"]);
    refused(&["up"], 2, &["no repository is given", "vega-builder up OWNER/NAME"]);
}

#[test]
fn labels_with_characters_that_a_shell_would_read_are_refused() {
    refused(&["up", "a/b", "--labels", "vega,$(reboot)"], 2, &["--labels: '$(reboot)' is not a label"]);
    refused(&["up", "a/b", "--labels", ""], 2, &["--labels"]);
}

#[test]
fn a_cap_larger_than_the_host_is_refused_by_the_flags_name() {
    refused(
        &["up", "a/b", "--memory", "900t"],
        2,
        &["--memory: a cap of 900 TiB is more than this machine's"],
    );
    refused(&["up", "a/b", "--cpus", "4096"], 2, &["--cpus: a cap of 4096 processors is more than"]);
    refused(&["up", "a/b", "--pids", "99999999"], 2, &["--pids: a cap of 99999999 processes is more than"]);
    refused(&["up", "a/b", "--memory", "1m"], 2, &["--memory", "less than"]);
    refused(&["up", "a/b", "--memory", "lots"], 2, &["--memory: 'lots' is not a size", "12g"]);
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let home = tempfile::tempdir().unwrap();
    let output = vega_builder(home.path(), &["up", "a/b"]).env("VEGA_BUILDER_CPUS", "many").output().unwrap();
    fails(&output, 2, &["environment variable VEGA_BUILDER_CPUS: 'many' is not a number of processors"]);
}

#[test]
fn a_mistake_in_the_file_is_named_by_file_line_and_key() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("vega-builder");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("config.toml");
    for (text, words) in [
        (
            "repository = \"a/b\"\n[caps]\nmemroy = \"1g\"\n",
            ":3: unknown key 'caps.memroy'; did you mean 'caps.memory'?",
        ),
        ("repository = \"a/b\"\n[caps]\nmemory = \"1x\"\n", ":3: caps.memory: '1x' is not a size"),
        (
            "repository = \"a/b\"\n\n[caps]\ncpus = 4096\n",
            ":4: caps.cpus: a cap of 4096 processors is more than",
        ),
        ("repository = \n", ":1: "),
    ] {
        fs::write(&file, text).unwrap();
        let output = vega_builder(home.path(), &["up"]).output().unwrap();
        fails(&output, 2, &[&format!("{}{words}", file.display())]);
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("vega-builder")).unwrap();
    fs::write(home.path().join("vega-builder/config.toml"), "name = \"from file\"\n").unwrap();
    let run = |arguments: &[&str], variable: Option<&str>| {
        let mut command = vega_builder(home.path(), arguments);
        command.envs(variable.map(|value| ("VEGA_BUILDER_NAME", value)));
        String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned()
    };
    assert!(run(&["up", "a/b"], None).contains("config.toml:1: name: 'from file'"));
    assert!(run(&["up", "a/b"], Some("from variable")).contains("VEGA_BUILDER_NAME: 'from variable'"));
    assert!(run(&["up", "a/b", "--name", "from flag"], Some("x y")).contains("--name: 'from flag'"));
}

#[test]
fn an_unreadable_or_exposed_token_file_is_named_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("no-such-token");
    let output = vega_builder(home.path(), &["up", "a/b", "--token-file"]).arg(&missing).output().unwrap();
    fails(&output, 2, &["no-such-token cannot be read", "check its path"]);

    let exposed = home.path().join("token");
    fs::write(&exposed, "ghp_of_nobody").unwrap();
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let output = vega_builder(home.path(), &["up", "a/b", "--token-file"]).arg(&exposed).output().unwrap();
    fails(&output, 2, &["is readable by others", "`chmod 0600 "]);
}

#[test]
fn no_login_says_what_to_type() {
    let home = tempfile::tempdir().unwrap();
    let output = vega_builder(home.path(), &["up", "a/b"]).env_remove("GH_TOKEN").output().unwrap();
    fails(&output, 5, &["no GitHub token is at hand", "`gh auth login`"]);
}

#[test]
fn a_registry_that_is_down_is_named() {
    refused(&["verify", "127.0.0.1:1/x:1"], 4, &["127.0.0.1:1 cannot be reached", "run this command again"]);
}

#[test]
fn a_github_that_would_get_the_token_in_clear_text_is_refused() {
    refused(&["up", "a/b", "--github-url", "http://github.example"], 2, &["--github-url", "https only"]);
}

#[test]
fn an_engines_option_does_not_come_in_as_a_networks_name() {
    for network in ["container:other", "ns:/proc/1/ns/net", "-v/:/host", "a b"] {
        refused(&["up", "a/b", &format!("--network={network}")], 2, &["is not the name of a network"]);
    }
}

#[test]
fn commands_on_a_runner_that_is_not_here_say_so() {
    let home = tempfile::tempdir().unwrap();
    for command in ["status", "down", "register", "prepare", "uninstall"] {
        let mut command = vega_builder(home.path(), &[command, "a/not-installed-here"]);
        let output = command.env("XDG_STATE_HOME", home.path()).output().unwrap();
        fails(&output, 2, &["installed here"]);
    }
}

#[test]
fn what_contradicts_itself_is_told_by_its_name() {
    for (arguments, words) in [
        (["--patience", "soon"].as_slice(), ["--patience", "a number and s, m, h or d"]),
        (&["--userns-base", "1000"], ["--userns-base", "this host's own users"]),
        (&["--disk", "100m"], ["--disk", "2 GiB that a store needs"]),
        (&["--app-id", "Iv1"], ["--app-id", "--app-key-file"]),
        (&["--app-key-file", "/k"], ["--app-key-file", "--app-id"]),
        (
            &["--app-key-file", "/k", "--app-id", "x", "--token-file", "/t"],
            ["--token-file", "leave one of them out"],
        ),
        (&["--ephemeral", "2"], ["has one for every job", "`vega-builder install`"]),
        (&["--ephemeral", "two"], ["--ephemeral", "how many jobs may run at once"]),
        (&["--ephemeral", "64", "--memory", "1g"], ["--memory", "64 slots of 1 GiB"]),
        (&["--name", "x.job-y"], ["--name", "a job's own runner"]),
    ] {
        refused(&[&["up", "a/b"], arguments].concat(), 2, &words);
    }
}

#[test]
fn a_host_without_systemd_is_told_to_use_up() {
    if !Path::new("/run/systemd/system").exists() {
        refused(&["install", "a/b"], 9, &["units of this host's systemd", "use `vega-builder up`"]);
    }
}

/// Runs as root with a runner that /etc declares, and nothing else of this machine's.
fn declared(text: &str, arguments: &[&str]) -> Output {
    let etc = tempfile::tempdir().unwrap();
    let runners = etc.path().join("vega-builder/runners");
    fs::create_dir_all(&runners).unwrap();
    fs::write(runners.join("vega-declared.toml"), text).unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc && exec \"$@\""])
        .arg(etc.path())
        .arg(env!("CARGO_BIN_EXE_vega-builder"))
        .args(arguments);
    command.output().unwrap()
}

#[test]
fn a_declared_runner_is_not_changed_behind_the_back_of_what_declares_it() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let whole = "repository = \"a/b\"\n[caps]\nmemory = \"512m\"\ncpus = 1\npids = 512\n";
    let by_us = format!("# vega-builder install wrote this\n{whole}");
    fails(
        &declared(whole, &["up", "a/b", "--name", "vega-declared"]),
        2,
        &["vega-declared.toml", "change it in this system's configuration"],
    );
    fails(
        &declared(&by_us, &["up", "a/b", "--name", "vega-declared"]),
        2,
        &["vega-declared.toml", "`vega-builder install` changes it"],
    );
    fails(&declared(whole, &["down", "vega-declared"]), 2, &["this system's configuration", "switch"]);
    fails(&declared(whole, &["uninstall", "vega-declared"]), 2, &["this system's configuration"]);
    fails(&declared(&by_us, &["down", "vega-declared"]), 2, &["`vega-builder uninstall vega-declared`"]);
    // One line, no failure of the unit's.
    let output = declared(whole, &["can-start", "vega-declared"]);
    fails(&output, 1, &["has no registration at a/b", "`vega-builder register vega-declared`"]);
    fails(
        &declared("repository = \"a/b\"\n", &["can-start", "vega-declared"]),
        255,
        &["vega-declared.toml", "caps.memory"],
    );
}

#[test]
fn the_persons_file_wins_over_the_systems_and_the_systems_counts_alone() {
    let home = tempfile::tempdir().unwrap();
    let etc = tempfile::tempdir().unwrap();
    fs::create_dir(etc.path().join("vega-builder")).unwrap();
    fs::write(etc.path().join("vega-builder/config.toml"), "name = \"from system\"\n").unwrap();
    // Another /etc, for this one process.
    let run = || {
        let program = env!("CARGO_BIN_EXE_vega-builder");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc && exec \"$@\""])
            .arg(etc.path())
            .args([program, "up", "a/b"])
            .env("XDG_CONFIG_HOME", home.path())
            .env("GH_TOKEN", "ghp_of_nobody");
        String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned()
    };
    let said = run();
    assert!(said.contains("/etc/vega-builder/config.toml:1: name: 'from system'"), "{said}");
    let own = home.path().join("vega-builder");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("config.toml"), "name = \"from own\"\n").unwrap();
    let said = run();
    assert!(said.contains(&format!("{}:1: name: 'from own'", own.join("config.toml").display())), "{said}");
}

#[test]
fn what_means_nothing_without_a_container_is_refused_by_its_flag() {
    for (flag, value, why) in [
        ("--ephemeral", "2", "has no container of its own"),
        ("--network", "host", "has no container of its own"),
        ("--disk", "50g", "the Nix store is the host's"),
        ("--update-at", "Sun", "renewed by whoever unpacked it"),
        ("--sandbox", "auto", "would see all of the host"),
    ] {
        refused(&["up", "octo/heavy", "--host", flag, value], 2, &[flag, why, "leave it out"]);
    }
}
