use super::{
    super::{
        finding::{Finding, Rule, Severity},
        yaml::Node,
    },
    Reaching, Subject,
};

pub const RULE: Rule = Rule {
    id: "job-wide-secret",
    summary: "A secret is in the environment of a whole job",
    why: "Every step of the job is given it: every action that somebody else wrote, every build script, and whatever \
          such a script leaves running. On a machine of one's own a process can outlive its step.",
    example: "jobs:\n  build:\n    runs-on: [self-hosted, vega]\n    env:\n      TOKEN: ${{ secrets.TOKEN }}\n",
    remedy: "jobs:\n  build:\n    runs-on: [self-hosted, vega]\n    steps:\n      - run: ./publish\n        env:\n          TOKEN: ${{ secrets.TOKEN }}\n",
    severity: Severity::Warning,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for reaching in subject.reaching() {
        let of_job = reaching.job.body.get("env").map(|env| (env, "every step of the job"));
        let of_workflow = reaching.workflow.root.get("env").map(|env| (env, "every step of every job"));
        for (env, who) in of_job.into_iter().chain(of_workflow) {
            for (_, value) in env.pairs().iter().filter(|(_, value)| is_secret(value)) {
                let finding = told(&reaching, value, who);
                let known = |known: &Finding| known.rule == &RULE && known.location == finding.location;
                if !findings.iter().any(known) {
                    findings.push(finding);
                }
            }
        }
    }
}

fn told(reaching: &Reaching<'_>, value: &Node, who: &str) -> Finding {
    let title = format!("a secret is in the environment of the whole job '{}'", reaching.name());
    Finding::new(&RULE, reaching.place(value), title, format!("{who} is given this"))
        .with_help("give it to the one step that needs it, with an `env` of its own")
}

fn is_secret(value: &Node) -> bool {
    let Some(text) = value.text() else { return false };
    let lower = text.to_ascii_lowercase();
    lower.contains("${{")
        && (lower.contains("secrets.") || lower.contains("secrets[") || lower.contains("github.token"))
}
