//! The simulated GitHub answers as GitHub's own published description says.

use std::path::{Path, PathBuf};

use reqwest::{Method, blocking::Client};
use serde_json::{Value, json};
use simulator::{
    fault::Fault,
    github::{Job, Server},
};

const LOGIN: &str = "ghp_login";

/// The description of the calls; it is no part of this project.
fn description() -> Option<Value> {
    let place = std::env::var_os("VEGA_OPENAPI").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/github/openapi-runners.json"),
        PathBuf::from,
    );
    let text = std::fs::read(&place).ok();
    if text.is_none() {
        println!("SKIPPED: GitHub's OpenAPI description is not at {} (VEGA_OPENAPI)", place.display());
    }
    Some(serde_json::from_slice(&text?).unwrap())
}

/// Whether `body` is what the description promises for this call and status.
fn assert_described(description: &Value, path: &str, method: &str, status: u16, body: &Value) {
    let operation = &description["paths"][path][method];
    assert!(operation.is_object(), "{method} {path} is not described");
    let mut response = operation["responses"][status.to_string()].clone();
    if let Some(reference) = response["$ref"].as_str() {
        response = description.pointer(reference.trim_start_matches('#')).unwrap().clone();
    }
    assert!(response.is_object(), "{method} {path} never answers {status}");
    let Some(mut schema) = response.pointer("/content/application~1json/schema").cloned() else {
        assert_eq!(status, 204, "{method} {path} {status} is described without a body");
        return;
    };
    // References lead to the description's own components.
    schema["components"] = description["components"].clone();
    let_null_in(&mut schema);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(body).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {path} {status}: {errors:?}\n{body}");
}

/// `nullable` is `OpenAPI`'s own word (3.0), which JSON Schema says with a type and a value more.
fn let_null_in(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(let_null_in),
        Value::Object(fields) => {
            fields.values_mut().for_each(let_null_in);
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                if let Some(kind) = fields.get("type").filter(|kind| kind.is_string()).cloned() {
                    fields.insert("type".to_owned(), json!([kind, "null"]));
                }
                if let Some(Value::Array(values)) = fields.get_mut("enum") {
                    values.push(Value::Null);
                }
            }
        }
        _ => {}
    }
}

struct Asked {
    server: Server,
    client: Client,
}

impl Asked {
    fn new() -> Self {
        let server = Server::start().unwrap();
        server.repository("octo/heavy");
        server.credential(LOGIN, true);
        Self { server, client: Client::builder().no_proxy().build().unwrap() }
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.call(method, &format!("/repos/octo/heavy/actions/runners{path}"), body)
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}/api/v3{path}", self.server.url());
        let mut request = self.client.request(method, url).bearer_auth(LOGIN);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().unwrap();
        (reply.status().as_u16(), reply.json().unwrap_or(Value::Null))
    }
}

#[test]
fn every_reply_about_runners_is_as_published() {
    let Some(description) = description() else { return };
    for (scope, at) in [("/repos/{owner}/{repo}", "/repos/octo/heavy"), ("/orgs/{org}", "/orgs/octo")] {
        let asked = Asked::new();
        let ask = |method: Method, call: &str, body: Option<&Value>| {
            asked.call(method, &format!("{at}/actions/runners{call}"), body)
        };
        let check = |path: &str, method: &str, wanted: u16, (status, body): (u16, Value)| {
            let path = format!("{scope}/actions/runners{path}");
            assert_eq!(status, wanted, "{method} {path}: {body}");
            assert_described(&description, &path, method, status, &body);
        };
        for path in ["/registration-token", "/remove-token"] {
            check(path, "post", 201, ask(Method::POST, path, None));
        }
        let wanted =
            json!({ "name": "one", "runner_group_id": 1, "labels": ["vega"], "work_folder": "_work" });
        let jit = || ask(Method::POST, "/generate-jitconfig", Some(&wanted));
        check("/generate-jitconfig", "post", 201, jit());
        check("/generate-jitconfig", "post", 409, jit());
        check("", "get", 200, ask(Method::GET, "?name=one&per_page=100", None));
        check("/{runner_id}", "get", 200, ask(Method::GET, "/1", None));
        check("/{runner_id}", "delete", 204, ask(Method::DELETE, "/1", None));
    }
}

#[test]
fn every_reply_about_a_repository_is_as_published() {
    let Some(description) = description() else { return };
    let asked = Asked::new();
    let check = |path: &str, call: &str| {
        let (status, body) = asked.call(Method::GET, call, None);
        assert_eq!(status, 200, "{call}: {body}");
        assert_described(&description, path, "get", status, &body);
    };
    let (root, at) = ("/repos/{owner}/{repo}", "/repos/octo/heavy");
    check(root, at);
    let contents = format!("{root}/contents/{{path}}");
    check(&contents, &format!("{at}/contents/.github/workflows?ref=main"));
    check(&contents, &format!("{at}/contents/.github/workflows/heavy.yml?ref=main"));
    let permissions = "/actions/permissions";
    for setting in ["fork-pr-contributor-approval", "workflow"] {
        check(&format!("{root}{permissions}/{setting}"), &format!("{at}{permissions}/{setting}"));
    }
    asked.server.change("octo/heavy", |hosted| hosted.private = true);
    let setting = "fork-pr-workflows-private-repos";
    check(&format!("{root}{permissions}/{setting}"), &format!("{at}{permissions}/{setting}"));
    let job = asked.server.enqueue(Job::push("octo/heavy", "build", &["vega"], "true"));
    check(&format!("{root}/actions/runs/{{run_id}}/jobs"), &format!("{at}/actions/runs/{job}/jobs"));
    check("/orgs/{org}/actions/runner-groups", "/orgs/octo/actions/runner-groups");
}

#[test]
fn a_list_has_pages_and_a_name_finds_one() {
    let asked = Asked::new();
    for number in 0..5 {
        let wanted = json!({ "name": format!("r{number}"), "runner_group_id": 1, "labels": ["x"] });
        assert_eq!(asked.ask(Method::POST, "/generate-jitconfig", Some(&wanted)).0, 201);
    }
    let (_, page) = asked.ask(Method::GET, "?per_page=2&page=3", None);
    assert_eq!((page["total_count"].as_u64(), page["runners"].as_array().map(Vec::len)), (Some(5), Some(1)));
    let (_, found) = asked.ask(Method::GET, "?name=r3", None);
    assert_eq!(found["runners"][0]["name"], "r3");
}

#[test]
fn a_fault_comes_as_often_as_asked_for_and_is_recorded() {
    let asked = Asked::new();
    asked.server.fault(Fault::status("GET", "/runners", 503, &[("retry-after", "1")]).times(2));
    let codes: Vec<u16> = (0..3).map(|_| asked.ask(Method::GET, "", None).0).collect();
    assert_eq!(codes, [503, 503, 200]);
    assert_eq!(asked.server.requests().len(), 3);
}
