//! The table of attacks, and a job that tries all of it.

use std::{fmt::Write as _, fs};

use serde::Deserialize;

use crate::layout;

#[derive(Deserialize)]
struct Table {
    attack: Vec<Attack>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Attack {
    pub group: String,
    pub what: String,
    #[serde(default)]
    pub stopped_by: String,
    #[serde(default)]
    pub r#try: Vec<String>,
    pub test: Option<String>,
    /// What slots do where a runner that stays can do nothing.
    pub ephemeral: Option<String>,
    /// What a person can do where neither does.
    pub neither: Option<String>,
}

pub fn table() -> Vec<Attack> {
    let file = layout::project().join("checks/testbed/attacks.toml");
    toml::from_str::<Table>(&fs::read_to_string(file).unwrap()).unwrap().attack
}

/// Each way in which a job tries something, with what that is.
pub struct Tries(Vec<(String, String)>);

impl Tries {
    pub fn of(table: &[Attack]) -> Self {
        let tries = table
            .iter()
            .flat_map(|attack| attack.r#try.iter().map(move |one| (attack.what.clone(), one.clone())));
        Self(tries.collect())
    }

    /// The same against a runner whose folders are elsewhere.
    #[must_use]
    pub fn elsewhere(self, root: &str, home: &str) -> Self {
        let there =
            |one: &str| one.replace("/home/runner/actions-runner", root).replace("/home/runner", home);
        Self(self.0.into_iter().map(|(what, one)| (what, there(&one))).collect())
    }

    pub fn script(&self) -> String {
        let mut script = String::from("set +e\n");
        for (number, (_, attack)) in self.0.iter().enumerate() {
            writeln!(script, "if ( {attack}\n) >out 2>&1; then echo 'attack {number} DONE'; else echo 'attack {number} refused'; fi; head -c 300 out")
                .unwrap();
        }
        // The search for sockets would find one, and what is refused at PID 1 is not at one's own.
        script += "find /nix/var/nix/daemon-socket -type s | grep -q . && cat /proc/$$/environ >/dev/null && echo the attacks are none that always fail\n";
        script
    }

    pub fn expect_refused(&self, log: &str) {
        assert!(log.contains("the attacks are none that always fail"), "{log}");
        for (number, (what, attack)) in self.0.iter().enumerate() {
            assert!(log.contains(&format!("attack {number} refused")), "{what}: {attack}: {log}");
        }
    }
}
