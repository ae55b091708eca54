//! The table of attacks: each is tried or has its test, and docs/attacks.md says what the table says.

use std::{fmt::Write as _, fs, path::Path};

use simulator::github::Job;
use testbed::{
    attacks::{Attack, Tries, table},
    layout,
    scene::Scene,
};

/// Every Rust file below a folder, as one text.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_attack_is_tried_or_has_its_test() {
    let mut text = String::new();
    for folder in ["src", "checks/testbed/tests", "checks/testbed/src/scenario"] {
        sources(&layout::project().join(folder), &mut text);
    }
    for attack in table() {
        let ways = usize::from(!attack.r#try.is_empty())
            + usize::from(attack.test.is_some())
            + usize::from(attack.neither.is_some());
        assert_eq!(ways, 1, "{}: tried, tested, or not stopped", attack.what);
        let stops = [!attack.stopped_by.is_empty(), attack.ephemeral.is_some(), attack.neither.is_some()];
        assert_eq!(stops.into_iter().filter(|stops| *stops).count(), 1, "{}", attack.what);
        if let Some(test) = attack.test {
            assert!(text.contains(&format!("fn {test}(")), "{test} is no test");
        }
    }
}

#[test]
fn podman_every_attack_of_the_table_that_can_be_tried_is_refused() {
    let scene = Scene::new("attacks").unwrap();
    scene.up(&[]).unwrap();
    let tries = Tries::of(&table());
    let job = scene.github.enqueue(Job::push(
        &scene.repository,
        "attack",
        &["self-hosted", "vega"],
        &tries.script(),
    ));
    let outcome = scene.github.wait(job, std::time::Duration::from_secs(120)).unwrap();
    tries.expect_refused(&outcome.log);
    assert_eq!(scene.outcome("true").unwrap().result, "Succeeded");
    scene.down().unwrap();
}

#[test]
fn podman_a_setuid_program_gives_no_job_anything_and_is_gone_for_the_next() {
    let scene = Scene::new("setuid").unwrap();
    scene.up(&[]).unwrap();
    let places = "/tmp /var/tmp /dev/shm $HOME $RUNNER_TEMP";
    let left = scene
        .job(&format!(
            "for p in {places}; do cp $(command -v bash) $p/suid && chmod 6777 $p/suid && ls -l $p/suid; done
             grep NoNewPrivs /proc/self/status | tr -d '[:space:]'"
        ))
        .unwrap();
    assert!(left.matches("-rwsrwsrwx").count() >= 4 && left.contains("NoNewPrivs:1"), "{left}");
    let seen = scene.job("find / -xdev -name suid -perm -4000 2>/dev/null | grep . || echo none").unwrap();
    assert_eq!(seen.lines().next_back(), Some("none"), "{seen}");
    scene.down().unwrap();
}

/// `VEGA_UPDATE_DOCS=1 cargo test --package testbed --test attacks` writes it.
#[test]
fn the_page_of_attacks_is_the_tables() {
    let mut page = String::from(
        "# What a job may try, and what stops it\n\nEvery line is tried in `make test`: by a job that does just that (on a runner \
         that stays, in a slot of an ephemeral one, and on a host without a container), or by the test that is named. Made from \
         `checks/testbed/attacks.toml`.\n",
    );
    let mut groups: Vec<(String, Vec<Attack>)> = Vec::new();
    for attack in table() {
        match groups.iter_mut().find(|(group, _)| *group == attack.group) {
            Some((_, list)) => list.push(attack),
            None => groups.push((attack.group.clone(), vec![attack])),
        }
    }
    for (group, attacks) in &groups {
        let title = group[..1].to_uppercase() + &group[1..];
        write!(page, "\n## {title}\n\n").unwrap();
        let heads = match &attacks[0] {
            Attack { ephemeral: Some(_), .. } => "a job can try | with `--ephemeral` | tried by".to_owned(),
            Attack { neither: Some(_), .. } => "a job can try | what you can do |".to_owned(),
            _ => format!("a job {group} | what stops it | tried by"),
        };
        write!(page, "| {heads} |\n|---|---|---|\n").unwrap();
        for attack in attacks {
            let stop = attack.ephemeral.as_ref().or(attack.neither.as_ref()).unwrap_or(&attack.stopped_by);
            let by = match (&attack.test, attack.r#try.len()) {
                (Some(test), _) => format!("`{test}`"),
                (None, 0) => String::new(),
                (None, 1) => "a job, one way".to_owned(),
                (None, tries) => format!("a job, {tries} ways"),
            };
            writeln!(page, "| {} | {stop} | {by} |", attack.what).unwrap();
        }
    }
    let file = layout::project().join("docs/attacks.md");
    if std::env::var_os("VEGA_UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&file).unwrap_or_default(),
        page,
        "type VEGA_UPDATE_DOCS=1 cargo test --package testbed --test attacks"
    );
}
