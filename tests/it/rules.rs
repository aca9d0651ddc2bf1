//! The rule language as a whole: its table of questions and answers, what people are told, and
//! what holds for any text.

use std::fs;
use std::process::{Command, Output};

use routecert::rule::{Protocol, Rule, Syntax};
use serde_json::{Value, json};

use crate::parts::process;
use crate::{binary, rule_body};

const INPUTS: usize = 4_000;
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn rule(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    command.arg("rule").args(args);
    process::run(command, input)
}

fn batch(input: &str) -> Vec<String> {
    let output = rule(&["--batch"], input);
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn every_answer_is_the_expected_one() {
    let file = crate::layers::root().join("tests/data/rules.jsonl");
    let questions = fs::read_to_string(file).unwrap();
    let answers = batch(&questions);
    assert_eq!(answers.len(), questions.lines().count());
    let mut wrong = Vec::new();
    for (question, answer) in questions.lines().zip(&answers) {
        let mut parsed: Value = serde_json::from_str(answer).unwrap();
        let got = parsed.as_object_mut().unwrap().remove("got");
        assert_eq!(parsed, serde_json::from_str::<Value>(question).unwrap());
        if got.as_ref() != Some(&parsed["expect"]) {
            wrong.push(answer.clone());
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), answers.len(), wrong.join("\n"));
}

#[test]
fn a_line_that_cannot_be_read_gets_an_error_and_stops_nothing() {
    let lines = batch(concat!(
        "nonsense\n",
        "\n",
        "[1]\n",
        "{}\n",
        "{\"op\": \"fly\", \"rule\": \"Path(`/`)\"}\n",
        "{\"op\": \"http\", \"rule\": \"Path(`/`)\", \"remote\": \"here\"}\n",
        "{\"op\": \"http\", \"rule\": \"Path(`/`)\", \"url\": \"http://h/%\"}\n",
        "{\"op\": \"domains\", \"rule\": \"Host(`a.example`)\", \"got\": 1}",
    ));
    let got: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["got"].clone())
        .collect();
    assert_eq!(got.len(), 8);
    assert!(got[..7].iter().all(|got| got["error"].is_string()), "{lines:?}");
    assert_eq!(got[7], json!({"names": ["a.example"]}));
}

#[test]
fn an_invalid_rule_is_marked_and_the_code_is_1() {
    let output = rule(&["Host(`a.example`) && Pth(`/`)"], "");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("line 1, column 22"), "{told}");
    assert!(
        told.ends_with("\n  Host(`a.example`) && Pth(`/`)\n                       ^\n"),
        "{told}"
    );
}

#[test]
fn a_rule_is_explained_for_each_protocol_and_syntax() {
    let http = rule(
        &["Host(`a.example`)", "--request", "GET https://b.example/", "-H", "Host: a.example"],
        "",
    );
    assert!(String::from_utf8_lossy(&http.stdout).contains("matches   yes"), "{http:?}");
    let tcp = rule(&["--tcp", "HostSNI(`*`)", "--request", "", "--alpn", "h2"], "");
    let told = String::from_utf8_lossy(&tcp.stdout);
    assert!(told.contains("matches   yes") && told.contains("priority  -1"), "{tcp:?}");
    let old = rule(&["--syntax", "v2", "Host(`a.example`, `b.example`)"], "");
    assert!(String::from_utf8_lossy(&old.stdout).contains("a.example, b.example"), "{old:?}");
    assert_eq!(rule(&["Path(`/`)", "--request", "GET /%"], "").status.code(), Some(2));
}

/// Numbers without an end, the same each time (xorshift).
fn numbers() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(SEED), |&last| {
        let mut next = last;
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        Some(next)
    })
}

#[test]
fn no_input_of_many_breaks_a_law() {
    let mut bytes = numbers().flat_map(u64::to_le_bytes);
    for _ in 0..INPUTS {
        let length = bytes.next().map_or(0, usize::from) % 120;
        let input: Vec<u8> = bytes.by_ref().take(length).collect();
        rule_body::check(&input);
    }
    for line in
        fs::read_to_string(crate::layers::root().join("tests/data/rules.jsonl")).unwrap().lines()
    {
        let question: Value = serde_json::from_str(line).unwrap();
        rule_body::check(question["rule"].as_str().unwrap().as_bytes());
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let megabyte = |piece: &str| piece.repeat((1 << 20) / piece.len() + 1);
    let texts = [
        megabyte("Host(`a`)||"),
        megabyte("("),
        megabyte("!"),
        megabyte("\n"),
        format!("Host(`{}`)", megabyte("a")),
        format!("PathRegexp(`{}`)", megabyte("(")),
    ];
    for text in texts {
        let error = Rule::parse(&text, Protocol::Http, Syntax::V3).unwrap_err();
        assert_eq!((error.line, error.column), (1, 1));
        assert!(error.message.contains("64 KiB"), "{error}");
    }
    let nested = format!("{}Host(`a`){}", "(".repeat(10_000), ")".repeat(10_000));
    let error = Rule::parse(&nested, Protocol::Http, Syntax::V3).unwrap_err();
    assert_eq!(error.column, 101, "{error}");
}
