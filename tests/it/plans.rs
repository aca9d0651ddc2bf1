//! `routecert plan` over the manifests of `tests/data/routes`: each with the certificates, refusals
//! and warnings that the specification gives it, in whatever form and order the manifests come.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{LazyLock, OnceLock};

use serde_json::{Value, json};

use crate::binary;
use crate::layers::root;
use crate::parts::process;

const FOLDER: &str = "tests/data/routes";

/// One situation: manifests, the configuration, and what must come of them.
struct Case {
    name: String,
    manifests: PathBuf,
    configuration: PathBuf,
    expected: Value,
    output: OnceLock<Output>,
}

impl Case {
    /// Of the plain run, which many tests look at.
    fn output(&self) -> &Output {
        self.output.get_or_init(|| plan(&self.manifests, &self.configuration, &[], ""))
    }
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let folder = root().join(FOLDER);
    let mut cases: Vec<Case> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let name = file.strip_suffix(".expect.json")?.to_owned();
            let expected = serde_json::from_slice(&fs::read(folder.join(&file)).unwrap()).unwrap();
            let own = folder.join(format!("{name}.static.yml"));
            let configuration = if own.exists() { own } else { folder.join("static.yml") };
            let manifests = folder.join(format!("{name}.yaml"));
            Some(Case { name, manifests, configuration, expected, output: OnceLock::new() })
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
});

/// `plan` of manifests at a path, or of `input` if that is `-`. Paths in a configuration begin at
/// the root of the project.
fn plan(manifests: &Path, configuration: &Path, more: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command
        .current_dir(root())
        .env_clear()
        .args(["plan", "-o", "json", "-f"])
        .arg(manifests)
        .arg("--configfile")
        .arg(configuration)
        .args(more);
    process::run(command, input)
}

/// What `plan` prints; an error says why there is nothing.
pub(crate) fn answer(output: &Output) -> Result<Value, String> {
    serde_json::from_slice(&output.stdout).map_err(|error| {
        let told = String::from_utf8_lossy(&output.stderr);
        format!("no answer ({error}), {}: {}", output.status, told.trim())
    })
}

fn on_stdin(case: &Case, input: &str) -> Result<Value, String> {
    answer(&plan(Path::new("-"), &case.configuration, &[], input))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn sorted(values: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut values: Vec<Value> = values.into_iter().collect();
    values.sort_by_key(Value::to_string);
    values
}

/// What of a certificate is compared, its lists as sets.
fn certificate(value: &Value) -> Value {
    let set = |key: &str| sorted(list(value, key).iter().cloned());
    let copies = list(value, "copies")
        .iter()
        .map(|copy| json!({"namespace": copy["namespace"], "name": copy["name"]}));
    json!({
        "resolver": value["resolver"],
        "names": set("names"),
        "challenges": value["challenges"],
        "routes": set("routes"),
        "copies": sorted(copies),
    })
}

fn certificates(plan: &Value) -> Vec<Value> {
    sorted(list(plan, "certificates").iter().map(certificate))
}

fn refusals(plan: &Value) -> Vec<Value> {
    let short = |refusal: &Value| json!({"route": refusal["route"], "reason": refusal["reason"]});
    sorted(list(plan, "refusals").iter().map(short))
}

/// What is in one list and not in the other, each as often as it is too much.
fn difference(what: &str, got: Vec<Value>, mut expected: Vec<Value>, told: &mut String) {
    for value in got {
        match expected.iter().position(|one| *one == value) {
            Some(at) => drop(expected.swap_remove(at)),
            None => writeln!(told, "  {what} too much: {value}").unwrap(),
        }
    }
    for value in expected {
        writeln!(told, "  {what} missing:  {value}").unwrap();
    }
}

/// How a plan differs from what is expected; empty if it does not.
pub(crate) fn differences(plan: &Value, expected: &Value) -> String {
    let mut told = String::new();
    difference("certificate", certificates(plan), certificates(expected), &mut told);
    difference("refusal", refusals(plan), refusals(expected), &mut told);
    let warnings: Vec<String> = list(plan, "warnings").iter().map(Value::to_string).collect();
    for wanted in list(expected, "warnings") {
        let wanted = wanted.as_str().unwrap();
        if !warnings.iter().any(|warning| warning.contains(wanted)) {
            writeln!(told, "  no warning has `{wanted}`: {warnings:?}").unwrap();
        }
    }
    for refusal in list(plan, "refusals") {
        if refusal["message"].as_str().is_none_or(str::is_empty) {
            writeln!(told, "  without a message: {refusal}").unwrap();
        }
    }
    told
}

/// Runs `check` on each case and fails with all that it finds.
fn for_all(check: impl Fn(&Case) -> String) {
    let wrong: Vec<String> = CASES
        .iter()
        .map(|case| (case, check(case)))
        .filter(|(_, told)| !told.is_empty())
        .map(|(case, told)| format!("{}\n{told}", case.name))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

fn documents(case: &Case) -> Vec<String> {
    let text = fs::read_to_string(&case.manifests).unwrap();
    text.split("\n---\n").map(|one| one.trim_end().to_owned() + "\n").collect()
}

/// What differs between a plan of the file and one of the same manifests in another form.
fn same(what: &str, case: &Case, other: Result<Value, String>) -> String {
    match (answer(case.output()), other) {
        (Ok(file), Ok(other)) if file == other => String::new(),
        (Ok(file), Ok(other)) => format!("  {what}: {other}\n  and not: {file}\n"),
        (file, other) => format!("  {what}: {other:?}\n  and not: {file:?}\n"),
    }
}

#[test]
fn the_folder_has_cases_enough() {
    assert!(CASES.len() >= 120, "{}", CASES.len());
    for case in CASES.iter() {
        assert!(case.manifests.exists(), "{} has no manifests", case.name);
    }
}

#[test]
fn every_plan_is_the_expected_one() {
    for_all(|case| {
        let output = case.output();
        match answer(output) {
            Ok(plan) if output.status.success() => differences(&plan, &case.expected),
            Ok(plan) => format!("  the code is {} of {plan}\n", output.status),
            Err(error) => format!("  {error}\n"),
        }
    });
}

#[test]
fn strict_means_code_1_when_something_is_refused() {
    for_all(|case| {
        let output = plan(&case.manifests, &case.configuration, &["--strict"], "");
        let code = i32::from(!list(&case.expected, "refusals").is_empty());
        let told = answer(&output).err().unwrap_or_default();
        if output.status.code() == Some(code) && told.is_empty() {
            return told;
        }
        format!("  {} and not {code} {told}\n", output.status)
    });
}

#[test]
fn the_order_of_the_documents_does_not_matter() {
    for_all(|case| {
        let mut documents = documents(case);
        documents.reverse();
        same("in reverse", case, on_stdin(case, &documents.join("---\n")))
    });
}

#[test]
fn standard_input_and_the_ends_of_lines_do_not_matter() {
    for_all(|case| {
        let text = fs::read_to_string(&case.manifests).unwrap();
        let windows = text.replace('\n', "\r\n");
        same("on standard input", case, on_stdin(case, &text))
            + &same("with line ends of Windows", case, on_stdin(case, &windows))
    });
}

#[test]
fn a_folder_of_files_is_read_as_one() {
    for_all(|case| {
        let folder = process::new_folder("plan");
        for (at, document) in documents(case).iter().enumerate() {
            let ends = ["yaml", "yml"];
            process::write(&folder, &format!("{at:02}.{}", ends[at % 2]), document);
        }
        process::write(&folder, "README.md", "no manifest: {{\n");
        same("in a folder", case, answer(&plan(&folder, &case.configuration, &[], "")))
    });
}

/// The plan of one manifest with the shared configuration.
fn plan_of(manifest: &str) -> Value {
    let configuration = root().join(FOLDER).join("static.yml");
    answer(&plan(Path::new("-"), &configuration, &[], manifest)).unwrap()
}

/// An IngressRoute `shop/web` with one rule and what follows `tls:`.
fn route(rule: &str, tls: &str) -> String {
    let rule = Value::from(rule);
    format!(
        "apiVersion: traefik.io/v1alpha1\nkind: IngressRoute\n\
         metadata: {{name: web, namespace: shop}}\n\
         spec:\n  entryPoints: [websecure]\n  routes: [{{match: {rule}, kind: Rule}}]\n  tls: {tls}\n"
    )
}

#[test]
fn an_answer_has_the_documented_shape() {
    let plan = plan_of(&route(
        "Host(`b.example.com`) || Host(`a.example.com`)",
        "{certResolver: private, secretName: web-tls}",
    ));
    let secret = &plan["certificates"][0]["secret"];
    let name = secret["name"].as_str().unwrap();
    assert!(name.starts_with("rc-") && name.len() == 23, "{name}");
    let expected = json!({
        "certificates": [{
            "resolver": "private",
            "names": ["b.example.com", "a.example.com"],
            "challenges": {"a.example.com": "http-01", "b.example.com": "http-01"},
            "secret": {"namespace": "routecert-certs", "name": name},
            "copies": [{"namespace": "shop", "name": "web-tls"}],
            "routes": ["IngressRoute shop/web"],
        }],
        "refusals": [],
        "warnings": plan["warnings"],
    });
    assert_eq!(plan, expected);
}

#[test]
fn a_refusal_says_where_in_the_rule_the_fault_is() {
    let case = CASES.iter().find(|case| case.name.contains("-a-rule-over-several-lines-")).unwrap();
    let plan = answer(case.output()).unwrap();
    let told = plan["refusals"].to_string();
    for place in ["2:28: ", "3:28: "] {
        assert!(told.contains(place), "{told}");
    }
}

#[test]
fn a_person_reads_the_same_without_json() {
    let manifests = root().join(FOLDER).join("static.yml");
    let text = |manifest: &str| {
        let mut command = Command::new(binary());
        command.env_clear().args(["plan", "-f", "-", "--configfile"]).arg(&manifests);
        let output = process::run(command, manifest);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let good = text(&route("Host(`a.example.com`)", "{certResolver: private}"));
    for word in ["a.example.com", "private", "http-01", "IngressRoute shop/web"] {
        assert!(good.contains(word), "no {word} in {good}");
    }
    let bad = text(&route("Host(`*.a.example.com`)", "{certResolver: private}"));
    for word in ["*.a.example.com", "WildcardNeedsDns01", "IngressRoute shop/web"] {
        assert!(bad.contains(word), "no {word} in {bad}");
    }
}

#[test]
fn what_is_far_too_large_is_refused_in_few_words() {
    let names: Vec<String> = (0..100_000).map(|at| format!("n{at}.example.com")).collect();
    let domains = format!("{{certResolver: private, domains: [{{sans: [{}]}}]}}", names.join(", "));
    let annotated = route("Host(`a.example.com`)", "{certResolver: private}").replace(
        "namespace: shop}",
        &format!(
            "namespace: shop, annotations: {{routecert.dev/domains: \"{}\"}}}}",
            names.join(",")
        ),
    );
    for manifest in [route("PathPrefix(`/`)", &domains), annotated] {
        let plan = plan_of(&manifest);
        let refusal = json!({"route": "IngressRoute shop/web", "reason": "TooManyNames"});
        assert_eq!((certificates(&plan), refusals(&plan)), (vec![], vec![refusal]));
        assert!(plan.to_string().len() < 4096, "{}", plan.to_string().len());
    }
}

#[test]
fn manifests_nested_without_end_are_refused_with_file_and_line() {
    let configuration = root().join(FOLDER).join("static.yml");
    for deep in ["[".repeat(1_000_000), "- ".repeat(1_000_000)] {
        let manifest = format!("a: 1\n---\nb:\n  {deep}\n");
        let output = plan(Path::new("-"), &configuration, &[], &manifest);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("standard input:4: ") && told.len() < 512, "{told}");
    }
}

#[test]
fn what_is_no_object_and_what_stands_twice_is_told_with_its_places() {
    let folder = process::new_folder("plan");
    let route = |host: &str| route(&format!("Host(`{host}`)"), "{certResolver: private}");
    let first = format!("# none\n---\n- a list\n---\nreplicas: 3\n---\n{}", route("a.example.com"));
    process::write(&folder, "1.yaml", &first);
    let item = serde_yaml::from_str::<Value>(&route("b.example.com")).unwrap();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [item]});
    process::write(&folder, "2.json", &list.to_string());
    let configuration = root().join(FOLDER).join("static.yml");
    let plan = answer(&plan(&folder, &configuration, &[], "")).unwrap();
    assert_eq!(plan["certificates"][0]["names"], json!(["b.example.com"]), "{plan}");
    let told = plan["warnings"].to_string();
    for place in [
        "1.yaml:3 (document 1): no Kubernetes object",
        "1.yaml:5 (document 2): no Kubernetes object",
        "1.yaml:7 (document 3) and again at ",
        "2.json:1 (document 1, item 1): the last one counts",
    ] {
        assert!(told.contains(place), "{place}: {told}");
    }
}

#[test]
fn templates_in_a_file_of_routers_are_refused_by_that_name() {
    let folder = process::new_folder("plan");
    let routers = "http:\n  routers:\n{{ range $i, $e := until 3 }}\n    r{{ $i }}:\n      rule: Host(`a.example.com`)\n{{ end }}\n";
    let routers = process::write(&folder, "routers.yml", routers);
    let shared = fs::read_to_string(root().join(FOLDER).join("static.yml")).unwrap();
    let provider = format!("providers:\n  file: {{filename: {}}}\n", routers.display());
    let configuration =
        process::write(&folder, "static.yml", &shared.replace("providers:\n", &provider));
    let manifest = route("Host(`b.example.com`)", "{certResolver: private}");
    let output = plan(Path::new("-"), &configuration, &[], &manifest);
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("templat") && told.contains("routers.yml"), "{told}");
}

#[test]
fn what_is_no_yaml_is_told_with_file_and_line() {
    let folder = process::new_folder("plan");
    let good = "apiVersion: v1\nkind: Service\nmetadata: {name: app, namespace: shop}\n";
    process::write(&folder, "good.yaml", good);
    process::write(&folder, "torn.yaml", &format!("{good}---\nkind: [\n"));
    let output = plan(&folder, &root().join(FOLDER).join("static.yml"), &[], "");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("torn.yaml") && told.contains("torn.yaml:5"), "{told}");
    assert!(!told.contains("good.yaml"), "{told}");
}

#[test]
fn manifests_that_are_not_there_are_told() {
    let configuration = root().join(FOLDER).join("static.yml");
    let output = plan(Path::new("no/such/folder"), &configuration, &[], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/folder"), "{output:?}");
}
