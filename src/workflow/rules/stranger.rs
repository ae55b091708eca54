use super::{
    super::{
        event::{self, Hand, strangers_way},
        finding::{Finding, Rule, Severity},
        runs_on::Certainty,
    },
    Reach, Subject,
};

pub const RULE: Rule = Rule {
    id: "stranger-reaches-runner",
    summary: "A job that lands on this runner can be started by a stranger",
    why: "The runner is a machine of yours. Whoever can start a job on it runs code there: a pull request from a fork \
          brings its own code, its own build scripts and its own workflow files; a comment, an issue or the end of \
          another workflow brings text and artifacts that others have written. A container and its caps limit the \
          damage; they do not make it welcome. Keep the workflow to pushes, and build what strangers send on \
          GitHub's own machines.",
    example: "on: [push, pull_request]\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n",
    remedy: "on: push\njobs:\n  build:\n    runs-on: [self-hosted, vega]\n",
    severity: Severity::Error,
};

pub fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for reach in &subject.found.reaches {
        let starts: Vec<_> = reach.by(Hand::Stranger).collect();
        let Some(worst) = starts.iter().max_by_key(|start| start.certainty) else { continue };
        let verb = if worst.certainty == Certainty::Reaches { "can start" } else { "may be able to start" };
        let by_fork = starts.iter().any(|start| event::ON_A_PULL_REQUEST.contains(&start.event.as_str()));
        let known = subject.known;
        // Who can read a private repository was let in by somebody; a fork's code was not.
        let is_error = known.is_public() || by_fork && known.lets_forks_run();
        let who = if known.is_public() { "anyone" } else { "whoever may read this repository" };
        let title = format!("{who} {verb} the job '{}' on this runner", reach.job);
        let mut finding = Finding::new(&RULE, reach.place.clone(), title, label(reach));
        finding.severity = if is_error { Severity::Error } else { Severity::Warning };
        for start in &starts {
            let way = strangers_way(&start.event).unwrap_or("an event that anyone can cause");
            finding = finding.with_related(start.trigger.clone(), format!("by {way}"));
            for call in &start.calls {
                finding = finding.with_related(call.clone(), "and it is called here");
            }
        }
        finding.related.dedup();
        findings.push(finding.with_help(help(
            subject,
            reach,
            starts.iter().map(|start| start.event.as_str()),
        )));
    }
}

fn label(reach: &Reach) -> String {
    match (&reach.unfollowed, reach.certainty) {
        (Some(why), _) => format!("{why}: what it runs, and where, is not known"),
        (None, Certainty::Reaches) => format!("{} is this runner", reach.asked.join(" or ")),
        (None, Certainty::MayReach) => {
            format!("this is {}, and that may be this runner", reach.asked.join(" or "))
        }
    }
}

fn help<'a>(subject: &Subject<'_>, reach: &Reach, events: impl Iterator<Item = &'a str>) -> String {
    let mut events: Vec<&str> = events.collect();
    events.sort_unstable();
    events.dedup();
    let on_pull_requests =
        events.iter().all(|event| event.starts_with("pull_request") && *event != "pull_request_target");
    if reach.unfollowed.is_some() {
        return "run `vega-builder lint OWNER/REPO` with a login, which reads called workflows too, or start this one \
                by pushes alone"
            .to_owned();
    }
    let labels = subject.known.labels.iter().last().unwrap_or("self-hosted");
    if on_pull_requests {
        format!(
            "take {} out of `on`, or send it elsewhere: runs-on: ${{{{ github.event_name == 'push' && '{labels}' || \
             'ubuntu-latest' }}}}",
            events.join(" and ")
        )
    } else {
        format!("take {} out of `on`, or give the job `runs-on: ubuntu-latest`", events.join(" and "))
    }
}
