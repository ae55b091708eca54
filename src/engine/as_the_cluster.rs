//! What `kubernetes/` gives a pod is what our own containers get, and its policy admits what we trust.

use std::{collections::BTreeSet, fs, path::Path};

use super::containers::CAPABILITIES;
use crate::{
    contract::env,
    trust::OURS,
    value::Span,
    workflow::{Node, Yaml, read_yaml},
};

fn file(name: &str) -> Node {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes").join(name);
    read_yaml(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The node at this path; numbers count in sequences.
#[track_caller]
fn at<'a>(node: &'a Node, path: &str) -> &'a Yaml {
    let mut node = node;
    for part in path.split('/') {
        node = match &node.value {
            Yaml::Mapping(pairs) => {
                let found = pairs.iter().find(|(key, _)| key.name == part);
                &found.unwrap_or_else(|| panic!("{part} of {path} is missing")).1
            }
            Yaml::Sequence(items) => &items[part.parse::<usize>().unwrap()],
            other => panic!("{path}: {part} of {other:?}"),
        };
    }
    &node.value
}

#[track_caller]
fn text<'a>(node: &'a Node, path: &str) -> &'a str {
    match at(node, path) {
        Yaml::Text(text) => text,
        other => panic!("{path} is {other:?}"),
    }
}

#[test]
fn a_pod_has_no_more_privileges_than_our_own_containers() {
    let values = file("values.yaml");
    let pod = |path: &str| at(&values, &format!("template/spec/{path}")).clone();
    let container = |path: &str| pod(&format!("containers/0/{path}"));
    // The name by which the controller knows the container that it hands the configuration to.
    assert_eq!(container("name"), Yaml::Text("runner".to_owned()));
    assert_eq!(text(&values, "template/spec/containers/0/command/0"), "/home/runner/run.sh");
    for no in ["hostUsers", "automountServiceAccountToken", "enableServiceLinks"] {
        assert_eq!(pod(no), Yaml::Bool(false), "{no}");
    }
    for no in ["securityContext/privileged", "securityContext/allowPrivilegeEscalation"] {
        assert_eq!(container(no), Yaml::Bool(false), "{no}");
    }
    let list = |path: &str| match container(path) {
        Yaml::Sequence(items) => items
            .into_iter()
            .map(|item| match item.value {
                Yaml::Text(text) => text,
                other => panic!("{other:?}"),
            })
            .collect::<BTreeSet<_>>(),
        other => panic!("{other:?}"),
    };
    let ours: BTreeSet<String> = CAPABILITIES.split(',').map(str::to_owned).collect();
    assert_eq!(list("securityContext/capabilities/add"), ours);
    assert_eq!(list("securityContext/capabilities/drop"), BTreeSet::from(["ALL".to_owned()]));
    for cap in ["cpu", "memory", "ephemeral-storage"] {
        assert_eq!(
            container(&format!("resources/limits/{cap}")),
            container(&format!("resources/requests/{cap}"))
        );
    }
    let image = text(&values, "template/spec/containers/0/image");
    assert!(image.contains("@sha256:"), "{image} is a tag, which moves");
    for (at, name) in [(0, env::SANDBOX), (1, env::MAX_JOBS), (2, env::PATIENCE)] {
        assert_eq!(container(&format!("env/{at}/name")), Yaml::Text(name.to_owned()));
    }
}

#[test]
fn a_drained_node_waits_for_the_running_job() {
    let values = file("values.yaml");
    let patience: Span = text(&values, "template/spec/containers/0/env/2/value").parse().unwrap();
    let Yaml::Number(grace) = at(&values, "template/spec/terminationGracePeriodSeconds") else { panic!() };
    assert!(*grace >= (patience.0 + super::CANCELLING).as_secs_f64(), "{grace} s");
}

#[test]
fn the_policy_admits_what_the_program_trusts_and_nothing_else() {
    let policy = file("image-policy.yaml");
    let identity = "spec/authorities/0/keyless/identities/0";
    assert_eq!(text(&policy, &format!("{identity}/subjectRegExp")), format!("^{OURS}$"));
    assert_eq!(text(&policy, &format!("{identity}/issuer")), crate::trust::GITHUB_ISSUER);
    assert_eq!(text(&policy, "spec/mode"), "enforce");
    assert_eq!(text(&policy, "spec/images/0/glob"), "**");
}

#[test]
fn the_workflow_that_we_trust_is_the_one_that_publishes() {
    let named = OURS.rsplit_once("workflows/").unwrap().1.split_once('@').unwrap().0.replace('\\', "");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows").join(named);
    assert!(fs::read_to_string(&file).is_ok_and(|text| text.contains("cosign sign")), "{}", file.display());
}
