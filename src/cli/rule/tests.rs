//! Explanations and marks, as a person sees them.

use super::*;

fn parse(text: &str) -> Result<Rule, rule::Error> {
    Rule::parse(text, Protocol::Http, Syntax::V3)
}

#[test]
fn an_explanation_has_names_priority_and_tree() {
    let rule = parse("Host(`A.com`) && !(Path(`/x`) && Method(`GET`))").unwrap();
    let expected = "\
rule      Host(`A.com`) && (!Path(`/x`) || !Method(`GET`))
names     a.com
priority  7
tree
  all of
    Host(`A.com`)
    any of
      !Path(`/x`)
      !Method(`GET`)
";
    assert_eq!(explain(&rule, 7, None), expected);
}

#[test]
fn each_part_says_whether_it_holds() {
    let rule = parse("Host(`a.com`) && Header(`K`, `V`)").unwrap();
    let request = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        Request::Http(http_request("GET https://a.com:8443/x?y=z", &lines).unwrap())
    };
    let text = explain(&rule, 1, Some(&request(&["k: V"])));
    assert!(
        text.contains("matches   yes\n") && text.contains("\n  yes    Header(`K`, `V`)\n"),
        "{text}"
    );
    let text = explain(&rule, 1, Some(&request(&["K: v", "Host: b.com"])));
    assert!(
        text.contains("matches   no\n") && text.contains("\n  no     Host(`a.com`)\n"),
        "{text}"
    );
}

#[test]
fn an_error_is_marked_in_its_line() {
    let text = "Host(`ä`) &&\n\tHots(`b`)";
    let error = parse("Path(`/ä`) &&\n\tHots(`b`)").unwrap_err();
    let shown = pointed(text, &error);
    assert!(
        shown.starts_with("the rule is invalid at line 2, column 2: unknown matcher"),
        "{shown}"
    );
    assert!(shown.ends_with("\n   Hots(`b`)\n   ^"), "{shown}");
    let long = format!("{} && Hots(`b`)", vec!["Host(`a`)"; 100].join(" && "));
    let shown = pointed(&long, &parse(&long).unwrap_err());
    let (line, mark) = shown.rsplit_once('\n').unwrap();
    let line = line.rsplit_once('\n').unwrap().1;
    assert!(line.get(mark.len() - 1..).unwrap().starts_with("Hots"), "{shown}");
    assert!(line.len() < 120);
}

#[test]
fn a_request_is_read_as_people_write_it() {
    assert_eq!(split_url("https://a.com:80/x?y#z"), ("a.com:80", "/x?y"));
    assert_eq!(split_url("https://a.com"), ("a.com", ""));
    assert_eq!(split_url("/x?u=http://b"), ("", "/x?u=http://b"));
    assert!(http_request("GET https://a.com/%2", &[]).unwrap_err().contains('%'));
    assert!(http_request("https://a.com", &["K".to_owned()]).unwrap_err().contains("`K`"));
}
