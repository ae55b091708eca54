use super::super::{
    finding::{Finding, Rule, Severity},
    known::Known,
};

pub const RULE: Rule = Rule {
    id: "open-group",
    summary: "The runner's group lets in more than this repository's workflows",
    why: "The runners of a group serve every repository that the group is given to. A group that public repositories may \
          use is reached by their forks; one that is not bound to named workflows is reached by every workflow that \
          anybody adds anywhere in the organisation.",
    example: "allows_public_repositories: true\nrestricted_to_workflows: false\n",
    remedy: "allows_public_repositories: false\nrestricted_to_workflows: true\n",
    severity: Severity::Warning,
};

pub fn check(known: &Known, findings: &mut Vec<Finding>) {
    let Some(settings) = &known.settings else { return };
    let Some(group) = &settings.group else { return };
    let organisation = settings.page.rsplit_once('/').map_or("", |(owner, _)| owner);
    let address = format!("{organisation}/settings/actions/runner-groups");
    let mut found = |title: String, help: &str| {
        findings.push(Finding::of_setting(&RULE, address.clone(), title, vec![help.to_owned()]));
    };
    if group.allows_public_repositories {
        let title = format!("public repositories may use the group {}, and so may their forks", group.name);
        found(title, "take the tick from \"Allow public repositories\" in the group's settings");
    }
    if !group.restricted_to_workflows {
        let title = format!("any workflow of the repositories of the group {} may use it", group.name);
        found(title, "name the workflows under \"Workflow access\" in the group's settings");
    }
}
