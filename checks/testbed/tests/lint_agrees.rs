//! What lint calls unreachable is never scheduled: workflows at random, events at random, and a GitHub that knows
//! everything about both ([`simulator::github::schedule`]) and shares no reading with the product.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use simulator::github::{Happening, Job, Queued, schedule};
use vega_builder::workflow::{Hand, Known, Set, Variables, reach};

const OURS: [&str; 4] = ["self-hosted", "Linux", "X64", "vega"];
const LABELS: [&str; 9] =
    ["vega", "VEGA", "vega", "self-hosted", "linux", "ubuntu-latest", "gpu", "nix-vega", ""];
const CI: &str = ".github/workflows/ci.yml";
const CALLED: &str = ".github/workflows/called.yml";

fn label() -> impl Strategy<Value = String> {
    select(LABELS.to_vec()).prop_map(str::to_owned)
}

/// An expression that comes to a text, mostly.
fn atom() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        label().prop_map(|label| format!("'{label}'")),
        select(vec![
            "vars.A",
            "vars.b",
            "inputs.where",
            "matrix.os",
            "matrix.extra",
            "matrix['OS']",
            "needs.plan.outputs.where",
            "needs.plan.outputs.fixed",
            "needs.other.outputs.where",
            "github.head_ref",
            "github.event.label.name",
            "fromJSON('[\"vega\",\"gpu\"]')[0]",
            "fromJSON(vars.LIST)[0]",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (condition(), inner.clone(), inner.clone()).prop_map(|(c, a, b)| format!("{c} && {a} || {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (condition(), inner.clone(), inner.clone()).prop_map(|(c, a, b)| format!("case({c}, {a}, {b})")),
            inner.clone().prop_map(|a| format!("format('{{0}}', {a})")),
            inner.prop_map(|a| format!("join(fromJSON(format('[\"{{0}}\"]', {a})))")),
        ]
    })
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "github.event_name == 'push'",
        "github.event_name != 'pull_request'",
        "contains(fromJSON('[\"push\",\"release\"]'), github.event_name)",
        "startsWith(github.event_name, 'pull_')",
        "github.ref == 'refs/heads/main'",
        "startsWith(github.ref, 'refs/heads/')",
        "endsWith(github.ref, '/merge')",
        "github.head_ref == ''",
        "github.base_ref == 'main'",
        "github.event.pull_request.head.repo.full_name == github.repository",
        "github.event.pull_request.head.repo.full_name == 'octo/heavy'",
        "github.event.pull_request.head.repo.fork",
        "github.event.pull_request.head.repo.id == github.event.repository.id",
        "github.event.pull_request.head.user.login == github.repository_owner",
        "github.event.pull_request.author_association == 'MEMBER'",
        "github.event.comment.author_association == 'OWNER'",
        "contains(fromJSON('[\"OWNER\",\"NONE\"]'), github.event.comment.author_association)",
        "github.event.workflow_run.event == 'push'",
        "github.event.workflow_run.head_repository.full_name == github.repository",
        "github.event.issue",
        "github.event.pull_request",
        "github.actor == 'octo'",
        "github.repository == 'octo/heavy'",
        "vars.A == 'vega'",
        "vars.NOTHING",
        "inputs.switch",
        "needs.plan.result == 'success'",
        "matrix.os == 'vega'",
        "1 < 2",
        "false",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

/// A double-quoted YAML scalar.
fn yaml(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn braces(expression: &str) -> String {
    yaml(&format!("${{{{ {expression} }}}}"))
}

fn runs_on() -> impl Strategy<Value = String> {
    prop_oneof![
        label().prop_map(|label| yaml(&label)),
        atom().prop_map(|atom| braces(&atom)),
        (atom(), label()).prop_map(|(atom, label)| format!("[{}, {}]", braces(&atom), yaml(&label))),
        proptest::collection::vec(label(), 1..3).prop_map(|all| format!(
            "[{}]",
            all.iter().map(|label| yaml(label)).collect::<Vec<_>>().join(", ")
        )),
        atom().prop_map(|atom| yaml(&format!("ve${{{{ {atom} }}}}"))),
        Just(braces("fromJSON(vars.LIST)")),
        (select(vec!["Default", "default", "big", "org/Default"]), label())
            .prop_map(|(group, label)| format!("{{group: {group}, labels: {}}}", yaml(&label))),
        atom().prop_map(|atom| format!("{{labels: {}}}", braces(&atom))),
    ]
}

fn strategy() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        2 => (label(), atom()).prop_map(|(one, two)| format!("strategy: {{matrix: {{os: [{}, {}]}}}}", yaml(&one), braces(&two))),
        1 => (label(), label(), label()).prop_map(|(one, two, out)| format!(
            "strategy: {{matrix: {{os: [{}, {}], exclude: [{{os: {}}}], include: [{{os: {}, extra: {}}}, {{extra: gpu}}]}}}}",
            yaml(&one), yaml(&two), yaml(&out), yaml(&one), yaml(&two)
        )),
        1 => Just(format!("strategy: {{matrix: {{os: {}}}}}", braces("fromJSON(vars.LIST)"))),
        1 => Just(format!("strategy: {{matrix: {}}}", braces("fromJSON(vars.MATRIX)"))),
    ]
}

fn guard() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        3 => condition().prop_map(|text| format!("if: {}", yaml(&text))),
        2 => condition().prop_map(|text| format!("if: {}", braces(&text))),
        1 => condition().prop_map(|text| format!("if: {}", yaml(&format!("always() && {text}")))),
    ]
}

fn job(name: &'static str, needs: &'static str) -> impl Strategy<Value = String> {
    (guard(), strategy(), runs_on()).prop_map(move |(guard, strategy, runs_on)| {
        format!("  {name}:\n    needs: [{needs}]\n    {guard}\n    {strategy}\n    runs-on: {runs_on}\n")
    })
}

const EVENTS: [&str; 8] = [
    "push",
    "pull_request",
    "pull_request_target",
    "issue_comment",
    "workflow_run",
    "workflow_dispatch",
    "schedule",
    "release",
];

/// Two files: one that events start, and one that it calls.
fn files() -> impl Strategy<Value = BTreeMap<String, String>> {
    let plan = (guard(), atom()).prop_map(|(guard, output)| {
        format!(
            "  plan:\n    {guard}\n    runs-on: ubuntu-latest\n    outputs: {{where: {}, fixed: {}}}\n",
            braces("steps.s.outputs.o"),
            braces(&output)
        )
    });
    let call = (guard(), strategy(), atom()).prop_map(|(guard, strategy, given)| {
        format!(
            "  call:\n    needs: [plan]\n    {guard}\n    {strategy}\n    uses: ./{CALLED}\n    with: {{where: {}}}\n",
            braces(&given)
        )
    });
    let default = prop_oneof![label().prop_map(|label| yaml(&label)), Just(braces("vars.A"))];
    let called = (default, job("inner", "")).prop_map(|(default, job)| {
        format!(
            "on: {{workflow_call: {{inputs: {{where: {{type: string, default: {default}}}, switch: {{type: boolean}}}}}}}}\njobs:\n{job}"
        )
    });
    let inputs = "inputs: {where: {type: string}, switch: {type: boolean}}";
    (plan, job("first", "plan"), job("second", "first, plan"), call, called).prop_map(
        move |(a, b, c, d, called)| {
            let on: Vec<String> = EVENTS
                .iter()
                .map(|event| match *event {
                    "workflow_dispatch" => format!("  workflow_dispatch: {{{inputs}}}"),
                    "workflow_run" => "  workflow_run: {workflows: [CI]}".to_owned(),
                    "schedule" => "  schedule: [{cron: '0 0 * * *'}]".to_owned(),
                    event => format!("  {event}:"),
                })
                .collect();
            let ci = format!("name: CI\non:\n{}\njobs:\n{a}{b}{c}{d}", on.join("\n"));
            BTreeMap::from([(CI.to_owned(), ci), (CALLED.to_owned(), called)])
        },
    )
}

/// What can be true of an event, and by whose hand that is.
fn happening() -> impl Strategy<Value = (Happening, Hand)> {
    let vars = (label(), label(), proptest::option::of(label()));
    let association = select(vec!["OWNER", "MEMBER", "COLLABORATOR", "CONTRIBUTOR", "NONE"]);
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    (select(EVENTS.to_vec()), vars, label(), label(), association, switches).prop_map(
        |(event, (a, b, c), output, chosen, association, (foreign, deleted, switch))| {
            let repository = |name: &str, id: u32| json!({ "full_name": name, "id": id, "fork": id != 7, "owner": { "login": name.split('/').next() } });
            let ours = repository("octo/heavy", 7);
            let head = if foreign { repository("mallory/heavy", 9) } else { ours.clone() };
            // A member's fork is a member's; a stranger has no such association.
            let stranger = ["CONTRIBUTOR", "NONE"].contains(&association);
            let mut payload = json!({ "repository": ours });
            let (mut reference, mut head_ref, mut base_ref) = ("refs/heads/main", "", "");
            let hand = match event {
                "pull_request" | "pull_request_target" => {
                    let user = if foreign { "mallory" } else { "octo" };
                    let repo = if foreign && deleted { Value::Null } else { head };
                    payload["pull_request"] = json!({
                        "head": { "repo": repo, "user": { "login": user }, "ref": "main" },
                        "base": { "repo": ours, "ref": "main" },
                        "author_association": association,
                    });
                    (head_ref, base_ref) = ("main", "main");
                    if event == "pull_request" {
                        reference = "refs/pull/7/merge";
                    }
                    if foreign && stranger { Hand::Stranger } else { Hand::Writer }
                }
                "issue_comment" => {
                    payload["issue"] = json!({ "number": 7, "author_association": association });
                    payload["comment"] = json!({ "body": "/build", "author_association": association });
                    if stranger { Hand::Stranger } else { Hand::Writer }
                }
                "workflow_run" => {
                    let by = if foreign { "pull_request" } else if stranger { "issue_comment" } else { "push" };
                    payload["workflow_run"] = json!({ "event": by, "head_repository": head, "head_branch": "main" });
                    if by == "push" { Hand::Writer } else { Hand::Stranger }
                }
                "schedule" => Hand::Clock,
                _ => Hand::Writer,
            };
            let github = json!({
                "event_name": event, "repository": "octo/heavy", "repository_owner": "octo", "repository_id": "7",
                "ref": reference, "ref_name": reference.trim_start_matches("refs/heads/").trim_start_matches("refs/pull/"),
                "head_ref": head_ref, "base_ref": base_ref, "actor": "octo", "event": payload,
            });
            let mut vars = json!({ "A": a, "LIST": json!([a, b]).to_string(), "MATRIX": json!({ "os": [b] }).to_string() });
            if let Some(c) = c {
                vars["b"] = json!(c);
            }
            let happening = Happening {
                event: event.to_owned(),
                github,
                vars,
                inputs: json!({ "where": chosen, "switch": switch }),
                steps: json!({ "s": { "outputs": { "o": output } } }),
            };
            (happening, hand)
        },
    )
}

fn lands(queued: &Queued) -> bool {
    let labels: Vec<&str> = queued.labels.iter().map(String::as_str).collect();
    let job = Job::push("octo/heavy", &queued.job, &labels, "");
    let own: Vec<String> = OURS.map(str::to_owned).to_vec();
    let in_group = queued.group.as_deref().is_none_or(|group| {
        group.rsplit('/').next().is_some_and(|group| group.eq_ignore_ascii_case("Default"))
    });
    job.runs_on(&own) && in_group
}

fn known(happening: &Happening, knows_more: bool) -> Known {
    let mut known = Known::of_runner(&"self-hosted,vega".parse().unwrap(), "X64");
    if knows_more {
        known.repository = Some("octo/heavy".to_owned());
        let values = happening.vars.as_object().into_iter().flatten();
        let text =
            |(name, value): (&String, &Value)| (name.clone(), value.as_str().unwrap_or_default().to_owned());
        known.variables = Variables { values: values.map(text).collect(), complete: true };
    }
    known
}

/// How many jobs were scheduled on the runner: none would mean that nothing was proven.
fn agree(
    files: &BTreeMap<String, String>,
    happening: &Happening,
    hand: Hand,
    knows_more: bool,
) -> Result<usize, TestCaseError> {
    let mut set = Set::default();
    for (path, text) in files {
        set.add(path, text);
    }
    let unread: Vec<_> = set.unread().map(|(_, unread)| unread.fault.to_string()).collect();
    prop_assert!(unread.is_empty(), "{unread:?}\n{}", files[CI]);
    let found = reach(&set, &known(happening, knows_more));
    prop_assert!(found.faults.is_empty(), "{:?}\n{}", found.faults, files[CI]);
    let mut landed = 0;
    for queued in schedule(files, happening).into_iter().filter(lands) {
        landed += 1;
        let told = found.reaches.iter().any(|reach| {
            set.source(reach.place.file).0 == queued.file
                && reach.job == queued.job
                && reach.starts.iter().any(|start| start.event == happening.event && start.hand >= hand)
        });
        prop_assert!(
            told,
            "{queued:?} is scheduled by {hand:?} with {} and lint does not say so\n{}\n{}\n{:#}\nvars {}",
            happening.event,
            files[CI],
            files[CALLED],
            happening.github,
            happening.vars
        );
    }
    Ok(landed)
}

#[test]
fn what_lint_calls_unreachable_is_never_scheduled() {
    use std::cell::Cell;

    let (landed, by_strangers) = (Cell::new(0), Cell::new(0));
    let cases = std::env::var("VEGA_LINT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(files in files(), (happening, hand) in happening(), knows_more in any::<bool>())| {
        let count = agree(&files, &happening, hand, knows_more)?;
        landed.set(landed.get() + count);
        if hand == Hand::Stranger {
            by_strangers.set(by_strangers.get() + count);
        }
    });
    println!("{cases} workflows; {} jobs landed, {} of them by strangers", landed.get(), by_strangers.get());
    assert!(landed.get() > 500 && by_strangers.get() > 100, "{} {}", landed.get(), by_strangers.get());
}
