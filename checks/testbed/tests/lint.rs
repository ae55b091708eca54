//! `lint` as it is typed: on a folder, on a file, and on a repository at GitHub.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use simulator::{
    fault::Fault,
    github::{Group, Server},
};
use tempfile::TempDir;
use testbed::scene::{LOGIN, program};

const REACHED: &str = "on: pull_request\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n";
const SOUND: &str = "on: push\npermissions: {contents: read}\nconcurrency: {group: x}\njobs:\n  build:\n    \
                     runs-on: [self-hosted, vega]\n    timeout-minutes: 9\n";

struct Said {
    code: i32,
    out: String,
    complaint: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Self { code, out: text(output.stdout), complaint: text(output.stderr) }
    }
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {}{}", self.out, self.complaint))
    }

    fn rules(&self) -> Vec<String> {
        let findings = self.json()["findings"].as_array().unwrap().clone();
        findings.iter().map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
    }
}

fn repository(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn lint_in(folder: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(program())
        .arg("lint")
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("PATH", "/usr/bin:/bin")
        .env_remove("GH_TOKEN")
        .env_remove("GITHUB_TOKEN")
        .output()
        .unwrap();
    output.into()
}

#[test]
fn the_exit_code_tells_a_stranger_from_a_warning_from_what_cannot_be_read() {
    let workflow = ".github/workflows/ci.yml";
    let warned = SOUND.replace("    timeout-minutes: 9\n", "");
    for (text, arguments, code) in [
        (SOUND, [].as_slice(), 0),
        (&warned, &[], 0),
        (&warned, &["--strict"], 1),
        (REACHED, &[], 1),
        (REACHED, &["--labels", "self-hosted,other"], 0),
        ("on: push\njobs:\n\tx: 1\n", &[], 2),
        ("on: push\njobs: {a: {runs-on: '${{ x'}}\n", &[], 2),
    ] {
        let folder = repository(&[(workflow, text)]);
        let said = lint_in(folder.path(), arguments);
        assert_eq!(said.code, code, "{text}\n{}{}", said.out, said.complaint);
    }
}

#[test]
fn what_is_asked_wrongly_is_one_sentence_with_the_next_command() {
    let folder = repository(&[("a/x", ""), (".github/workflows/ci.yml", SOUND)]);
    for (arguments, sentence) in [
        (["a"].as_slice(), "a has no .github/workflows: name the repository's folder, or a workflow file"),
        (&["gone.yml"], "gone.yml cannot be read: No such file or directory"),
        (
            &["gone/folder"],
            "gone/folder is no folder here, and to ask GitHub for it: no GitHub token is at hand",
        ),
        (&["--labels", "a b"], "'a b' is not a label"),
        (&["--all-branches"], "name the repository as OWNER/REPO to read its branches at GitHub"),
        (&["--explain", "none"], "there is no rule 'none'; there are stranger-reaches-runner"),
        (&["octo-org/heavy", "--token-file", "/nonexistent/token"], "/nonexistent/token cannot be read"),
    ] {
        let said = lint_in(folder.path(), arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.complaint);
        assert!(said.complaint.contains(sentence), "{arguments:?}: {}", said.complaint);
        assert_eq!(said.complaint.lines().count(), 1, "{}", said.complaint);
    }
}

#[test]
fn a_file_is_told_of_alone_but_read_with_the_others() {
    let build = "on: workflow_call\njobs: {build: {runs-on: vega}}\n";
    let caller = "on: pull_request\njobs: {call: {uses: ./.github/workflows/called.yml}}\n";
    let folder = repository(&[
        (".github/workflows/called.yml", build),
        (".github/workflows/caller.yml", caller),
        (".github/workflows/other.yml", REACHED),
        ("loose.yml", REACHED),
    ]);
    let said = lint_in(folder.path(), &[".github/workflows/called.yml", "--output", "json"]);
    let jobs = said.json()["jobs"].as_array().unwrap().clone();
    assert_eq!((said.code, jobs.len()), (1, 1));
    assert_eq!(jobs[0]["file"], ".github/workflows/called.yml");
    assert_eq!(lint_in(folder.path(), &["loose.yml"]).code, 1);
    // A file that nobody asked about does not decide.
    fs::write(folder.path().join(".github/workflows/caller.yml"), caller.replace("pull_request", "push"))
        .unwrap();
    assert_eq!(lint_in(folder.path(), &[".github/workflows/called.yml"]).code, 0);
    assert_eq!(lint_in(folder.path(), &[".github/workflows/other.yml"]).code, 1);
}

#[test]
fn a_link_is_not_followed_and_its_target_is_not_shown() {
    let folder = repository(&[("secret", "TOPSECRET: [\n"), (".github/workflows/ci.yml", SOUND)]);
    symlink(folder.path().join("secret"), folder.path().join(".github/workflows/link.yml")).unwrap();
    let said = lint_in(folder.path(), &[]);
    assert_eq!(said.code, 2);
    assert!(said.out.contains("a symbolic link, which GitHub does not follow"), "{}", said.out);
    assert!(!said.out.contains("TOPSECRET") && !said.complaint.contains("TOPSECRET"));
}

#[test]
fn a_pipe_or_a_linked_folder_in_a_checkout_does_not_hold_lint_up_or_lead_it_away() {
    let folder =
        repository(&[(".github/workflows/ci.yml", SOUND), ("elsewhere/.github/workflows/ci.yml", REACHED)]);
    for place in [".github/workflows/pipe.yml", ".vega-lint.toml"] {
        let pipe = folder.path().join(place);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let said = lint_in(folder.path(), &[]);
        assert_eq!(said.code, 2, "{}", said.out);
        assert!(format!("{}{}", said.out, said.complaint).contains("no regular file"), "{}", said.complaint);
        fs::remove_file(pipe).unwrap();
    }
    let linked = repository(&[]);
    symlink(folder.path().join("elsewhere/.github"), linked.path().join(".github")).unwrap();
    let said = lint_in(linked.path(), &["--fix"]);
    assert_eq!(said.code, 2);
    assert!(
        said.complaint.contains(".github is a symbolic link, which GitHub does not follow"),
        "{}",
        said.complaint
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("elsewhere/.github/workflows/ci.yml")).unwrap(),
        REACHED
    );
}

#[test]
fn a_thousand_workflows_are_read_in_under_a_second() {
    let folder = tempfile::tempdir().unwrap();
    testbed::bench::thousand_workflows(folder.path()).unwrap();
    // The best of five: other tests run beside this one.
    let round = |_| {
        let begin = std::time::Instant::now();
        assert_eq!(lint_in(folder.path(), &[]).code, 1);
        begin.elapsed().as_secs_f64()
    };
    let best = (0..5).map(round).fold(f64::INFINITY, f64::min);
    println!("{best:.3} s");
    assert!(best < 1.0, "{best:.3} s");
}

#[test]
fn a_reader_that_stops_and_a_full_disk_are_no_panic() {
    let many: Vec<(String, &str)> =
        (0..300).map(|n| (format!(".github/workflows/w{n}.yml"), REACHED)).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let folder = repository(&many);
    let run = |script: &str| {
        Said::from(
            Command::new("bash")
                .args(["-c", script, "x"])
                .arg(program())
                .current_dir(folder.path())
                .output()
                .unwrap(),
        )
    };
    let stopped = run("\"$1\" lint | head -1; exit ${PIPESTATUS[0]}");
    assert_eq!((stopped.code, stopped.complaint.as_str()), (1, ""), "{}", stopped.complaint);
    let full = run("\"$1\" lint > /dev/full");
    assert_eq!(full.code, 2);
    assert_eq!(
        full.complaint.trim(),
        "vega-builder: the report cannot be written: No space left on device (os error 28)"
    );
}

#[test]
fn nothing_in_a_workflow_moves_the_terminal_or_starts_a_command_at_github() {
    let evil = "on: pull_request\njobs:\n  \"a\\e]0;owned\\a\\n::error::b\": {runs-on: vega, env: {X: \"\u{1b}[2J${{ secrets.X }}\"}}\n";
    let folder = repository(&[(".github/workflows/e\u{1b}[31m.yml", evil)]);
    for format in ["human", "github"] {
        let output = Command::new(program())
            .args(["lint", "--output", format])
            .current_dir(folder.path())
            .env("CLICOLOR_FORCE", "1")
            .output();
        let said = Said::from(output.unwrap());
        // Of what begins with an escape there are the styles of our own, and nothing else.
        let ours = |after: &str| {
            after.starts_with('[')
                && after
                    .find('m')
                    .is_some_and(|end| after[1..end].chars().all(|c| c.is_ascii_digit() || c == ';'))
        };
        let foreign = ["[31m.yml", "[2J", "]0;"];
        for after in said.out.split('\u{1b}').skip(1) {
            assert!(format == "human" && ours(after), "{after:?}");
            assert!(!foreign.iter().any(|text| after.starts_with(text)), "{after:?}");
        }
        let starts = said.out.lines().filter(|line| line.starts_with("::"));
        assert!(starts.into_iter().all(|line| !line.starts_with("::error::")), "{}", said.out);
    }
}

#[test]
fn an_ignore_needs_a_reason_and_is_told() {
    let ignore = "[[ignore]]\nrule = \"stranger-reaches-runner\"\nfile = \".github/workflows/ci.yml\"\nreason = \"guarded by hand\"\n";
    let idle = "[[ignore]]\nrule = \"no-timeout\"\nfile = \"gone.yml\"\nreason = \"x\"\n";
    let folder =
        repository(&[(".github/workflows/ci.yml", REACHED), (".vega-lint.toml", &format!("{ignore}{idle}"))]);
    let said = lint_in(folder.path(), &[]);
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(said.out.contains(
        "ignored: anyone can start the job 'build' on this runner (stranger-reaches-runner): guarded by hand"
    ));
    assert!(said.out.contains("ignores no-timeout in gone.yml, of which there is none"), "{}", said.out);
    fs::write(folder.path().join(".vega-lint.toml"), ignore.replace("guarded by hand", " ")).unwrap();
    let said = lint_in(folder.path(), &[]);
    assert_eq!(said.code, 2);
    assert!(said.complaint.contains("needs a reason"), "{}", said.complaint);
}

#[test]
fn a_fix_keeps_the_files_mode_and_every_comment() {
    use std::os::unix::fs::PermissionsExt as _;
    let text = "# head\non: push # trigger\n\njobs: # all\n  build: # one\n    runs-on: vega  # here\n    steps:\n      # first\n      - uses: actions/checkout@v5 # five\n";
    let folder = repository(&[(".github/workflows/ci.yml", text)]);
    let file = folder.path().join(".github/workflows/ci.yml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let said = lint_in(folder.path(), &["--fix"]);
    assert_eq!((said.code, said.complaint.trim()), (0, "3 of them mended; what is left:"), "{}", said.out);
    let fixed = fs::read_to_string(&file).unwrap();
    for line in text.lines() {
        assert!(fixed.contains(line), "{line:?} is gone:\n{fixed}");
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fixed.contains("persist-credentials: false") && fixed.contains("contents: read"));
}

#[test]
fn sarif_has_what_code_scanning_asks_for() {
    let folder =
        repository(&[(".github/workflows/ci ä.yml", REACHED), (".github/workflows/bad.yml", "a: [")]);
    let said = lint_in(folder.path(), &["--output", "sarif"]);
    let log = said.json();
    assert_eq!((said.code, log["version"].as_str()), (2, Some("2.1.0")));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(
        rules
            .iter()
            .all(|rule| rule["shortDescription"]["text"].is_string() && rule["help"]["markdown"].is_string())
    );
    let result = &run["results"][0];
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(rules[index]["id"], result["ruleId"]);
    let location = &result["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], ".github/workflows/ci%20%C3%A4.yml");
    assert_eq!(
        (location["region"]["startLine"].as_u64(), location["region"]["startColumn"].as_u64()),
        (Some(4), Some(14))
    );
    let notification = &run["invocations"][0]["toolExecutionNotifications"][0];
    assert_eq!(
        (run["invocations"][0]["executionSuccessful"].as_bool(), notification["level"].as_str()),
        (Some(false), Some("error"))
    );
}

struct AtGitHub {
    server: Server,
    folder: TempDir,
}

impl AtGitHub {
    fn new() -> Self {
        let server = Server::start().unwrap();
        server.repository("octo-org/heavy");
        server.credential(LOGIN, true);
        server.credential("ghp_reader", false);
        Self { server, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, branch: &str, path: &str, text: &str) {
        self.server.change("octo-org/heavy", |hosted| hosted.file(branch, path, text));
    }

    fn run(&self, login: &str, arguments: &[&str]) -> Said {
        let output = Command::new(program())
            .args(["lint", "octo-org/heavy"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GH_TOKEN", login)
            .env("VEGA_BUILDER_GITHUB_URL", self.server.url())
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .output()
            .unwrap();
        output.into()
    }
}

#[test]
fn branches_are_read_as_the_person_chooses_and_the_same_files_are_told_once() {
    let github = AtGitHub::new();
    let said = github.run(LOGIN, &[]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.complaint);
    assert!(said.out.contains("2 accounts may write to the repository"), "{}", said.out);
    assert!(
        said.out.contains("main:.github/workflows/heavy.yml:6  build  by whoever may write: push"),
        "{}",
        said.out
    );
    for branch in ["dev", "v1", "v2"] {
        github.file(branch, "README", branch);
    }
    github.file("old", ".github/workflows/ci.yml", REACHED);
    assert_eq!(github.run(LOGIN, &[]).code, 0);
    assert_eq!(github.run(LOGIN, &["--branch", "dev"]).code, 0);
    assert_eq!(github.run(LOGIN, &["--branch", "dev", "--branch", "old"]).code, 1);
    let all = github.run(LOGIN, &["--all-branches", "--output", "json"]);
    assert_eq!(all.code, 1);
    let jobs = all.json()["jobs"].as_array().unwrap().clone();
    assert_eq!(jobs.len(), 3, "{jobs:?}");
    assert_eq!(jobs[0]["branches"], serde_json::json!(["main", "dev", "v1", "v2"]));
    let gone = github.run(LOGIN, &["--branch", "gone"]);
    assert_eq!(gone.code, 2, "{}", gone.complaint);
}

#[test]
fn what_a_reader_may_not_see_counts_as_open() {
    let github = AtGitHub::new();
    let said = github.run("ghp_reader", &[]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("could not be read, and that may be anyone's"), "{}", said.out);
    github.file(
        "main",
        ".github/workflows/ci.yml",
        &REACHED.replace("[self-hosted, vega]", "${{ vars.RUNNER }}"),
    );
    let rules = github.run("ghp_reader", &["--output", "json"]).rules();
    assert!(rules.contains(&"stranger-reaches-runner".to_owned()), "{rules:?}");
    // Who may read the variables knows that there is none of that name.
    let rules = github.run(LOGIN, &["--output", "json"]).rules();
    assert!(!rules.contains(&"stranger-reaches-runner".to_owned()), "{rules:?}");
}

#[test]
fn an_action_is_asked_what_it_runs_on_and_which_commit_it_is() {
    let github = AtGitHub::new();
    github.server.change("octo-org/tool", |hosted| {
        hosted.file("v1", "sub/action.yaml", "name: x\nruns: {using: node20, main: x.js}\n");
        hosted.file("v2", "action.yml", "name: x\nruns: {using: node24, main: x.js}\n");
    });
    let steps = "    steps:\n      - uses: octo-org/tool/sub@v1\n      - uses: octo-org/tool@v2\n      - uses: octo-org/gone@v1\n";
    github.file("main", ".github/workflows/heavy.yml", &format!("{SOUND}{steps}"));
    let said = github.run(LOGIN, &[]);
    assert_eq!(said.out.matches("[node20-action]").count(), 1, "{}", said.out);
    assert!(said.out.contains("octo-org/tool/sub@v1 does not run here"), "{}", said.out);
    assert_eq!(said.out.matches("[unpinned-action]").count(), 3);
    assert_eq!(said.out.matches("by its commit").count(), 2, "of one that is gone nobody knows it");
}

#[test]
fn a_checkout_online_follows_what_it_calls_and_names_actions_by_their_commits() {
    let github = AtGitHub::new();
    github.server.change("octo-org/tool", |hosted| {
        hosted.file("v1", "action.yml", "name: x\nruns: {using: node20, main: x.js}\n");
        hosted.file("v1", ".github/workflows/x.yml", "on: workflow_call\njobs: {inner: {runs-on: vega}}\n");
    });
    let calls = "on: pull_request\njobs: {call: {uses: octo-org/tool/.github/workflows/x.yml@v1}}\n";
    let steps = "    steps:\n      - uses: octo-org/tool@v1\n      - uses: ./own\n";
    let folder = repository(&[
        (".github/workflows/ci.yml", &format!("{SOUND}{steps}")),
        (".github/workflows/calls.yml", calls),
        ("own/action.yml", "name: own\nruns: {using: node16, main: x.js}\n"),
    ]);
    let run = |arguments: &[&str]| -> Said {
        let mut command = Command::new(program());
        command.arg("lint").args(arguments).current_dir(folder.path());
        command.env("GH_TOKEN", LOGIN).env("VEGA_BUILDER_GITHUB_URL", github.server.url());
        command.env("XDG_CONFIG_HOME", "/nonexistent").output().unwrap().into()
    };
    // Without GitHub what is called may do anything; with it, it is known.
    assert!(run(&[]).out.contains("anyone may be able to start the job 'call'"));
    let said = run(&["--online", "--fix"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.complaint);
    assert!(said.out.contains("anyone can start the job 'inner' on this runner"), "{}", said.out);
    assert_eq!(said.out.matches("[node20-action]").count(), 2, "{}", said.out);
    let fixed = fs::read_to_string(folder.path().join(".github/workflows/ci.yml")).unwrap();
    let pinned = fixed.lines().find(|line| line.contains("octo-org/tool@")).unwrap();
    let (_, commit) = pinned.split_once('@').unwrap();
    assert!(commit.ends_with(" # v1") && commit.len() == 40 + " # v1".len(), "{pinned}");
}

#[test]
fn a_group_of_the_organisations_is_looked_at() {
    let github = AtGitHub::new();
    github.server.change("octo-org/heavy", |hosted| {
        hosted.private = true;
    });
    let big = Group { public: true, ..Group::new("big") };
    github.server.groups("octo-org", vec![Group::new("Default"), big]);
    github.file("main", ".github/workflows/heavy.yml", &SOUND.replace("[self-hosted, vega]", "{group: big}"));
    let said = github.run(LOGIN, &["--group", "big"]);
    assert_eq!((said.code, said.out.matches("[open-group]").count()), (0, 2), "{}", said.out);
    assert!(said.out.contains("heavy.yml:5  build"), "{}", said.out);
    assert!(github.run(LOGIN, &[]).out.contains("no job lands on a runner"));
}

#[test]
fn the_settings_decide_how_bad_it_is() {
    let github = AtGitHub::new();
    github.file("main", ".github/workflows/ci.yml", REACHED);
    assert_eq!(github.run(LOGIN, &[]).code, 1);
    // In a private repository whose forks run nothing, who can read it was let in by somebody.
    github.server.change("octo-org/heavy", |hosted| hosted.private = true);
    let said = github.run(LOGIN, &[]);
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(
        said.out.contains("warning[stranger-reaches-runner]: whoever may read this repository can start")
    );
    github.server.change("octo-org/heavy", |hosted| hosted.forks_run = true);
    assert_eq!(github.run(LOGIN, &[]).code, 1);
}

#[test]
fn a_fault_of_github_is_one_sentence_and_nothing_is_taken_for_safe() {
    let github = AtGitHub::new();
    for (fault, sentence) in [
        (
            Fault::status("GET", "/contents/", 500, &[]).times(9),
            "reading the workflows of octo-org/heavy: GitHub has trouble of its own (500)",
        ),
        (
            Fault::status("GET", "/branches", 429, &[("retry-after", "7")]).times(9),
            "rate limit is used up (429); run this command again in 7 seconds",
        ),
        (
            Fault::status("GET", "/contents/.github/workflows/heavy.yml", 403, &[]).times(9),
            "lacks a permission",
        ),
    ] {
        let github = AtGitHub::new();
        github.server.fault(fault);
        let said = github.run(LOGIN, &[]);
        assert_eq!(said.code, 2, "{sentence}: {}{}", said.out, said.complaint);
        assert!(said.complaint.contains(sentence), "{sentence}: {}", said.complaint);
    }
    let said = github.run(LOGIN, &["--fix"]);
    assert_eq!(said.code, 2);
    assert!(said.complaint.contains("--fix changes files: run it in a checkout of octo-org/heavy"));
    assert_eq!(github.run("ghp_wrong", &[]).code, 2);
}
