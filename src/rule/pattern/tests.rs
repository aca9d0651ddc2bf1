//! What Go takes, what it refuses, and what it finds where.

use super::*;

fn outcome(pattern: &str, text: &[u8]) -> Result<bool, String> {
    Pattern::new(pattern, &mut Budget::new()).map(|pattern| pattern.fits(text))
}

#[track_caller]
fn fits(pattern: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(outcome(pattern, text.as_bytes()), Ok(true), "{pattern} {text:?}");
    }
}

#[track_caller]
fn misses(pattern: &str, texts: &[&str]) {
    for text in texts {
        assert_eq!(outcome(pattern, text.as_bytes()), Ok(false), "{pattern} {text:?}");
    }
}

#[track_caller]
fn refuses(pattern: &str, part: &str) {
    let wrong = outcome(pattern, b"").unwrap_err();
    assert!(wrong.contains(part), "{pattern}: {wrong}");
}

#[test]
fn it_fits_anywhere_unless_anchored() {
    fits("b", &["abc"]);
    fits("^ab$", &["ab"]);
    misses("^b|^c$", &["abc", "c\n"]);
    fits("(?m)^b$", &["a\nb\nc"]);
    fits(r"\Aa\z", &["a"]);
    misses(r"a\z", &["a\n"]);
    fits("", &["", "a"]);
}

#[test]
fn braces_that_are_no_repetition_stand_for_themselves() {
    fits("{a:.*}.com", &["{a:x}.com"]);
    fits("^a{,3}$", &["a{,3}"]);
    fits("^a{01}$", &["a{01}"]);
    fits("^a{2,3}$", &["aa", "aaa"]);
    misses("^a{2,3}$", &["a", "aaaa"]);
    fits("^a{2,}?$", &["aaaaa"]);
    fits("^a{0}$", &[""]);
    fits("}{", &["}{"]);
}

#[test]
fn quoted_text_stands_for_itself() {
    fits(r"^\Qa.b\E.$", &["a.bc"]);
    fits(r"^\Qa.", &["a."]);
    misses(r"\Qa.b\E", &["axb"]);
    fits(r"^\Qab\E*$", &["abbb"]);
}

#[test]
fn letters_behind_a_backslash_are_ascii() {
    fits(r"^\d\w\s$", &["0_ ", "9z\t"]);
    misses(r"^\d$", &["\u{663}"]);
    misses(r"\s", &["\x0b", "\u{a0}"]);
    fits(r"^[[:space:]]$", &["\x0b"]);
    fits(r"^\D\W\S$", &["éé\x0b"]);
    fits(r"\bé\B", &["aé"]);
    fits(r"^[^[:alpha:]][[:^digit:]]$", &["0a"]);
    fits(r"^[\d-z]$", &["5", "-", "z"]);
}

#[test]
fn case_is_folded_as_unicode_says_before_the_opposite_is_taken() {
    fits("(?i)^k$", &["K", "\u{212a}"]);
    fits("(?i)^[a-z]$", &["\u{17f}"]);
    misses("(?i)^[^k]$", &["K", "\u{212a}"]);
    misses(r"(?i)^\W$", &["\u{17f}"]);
    fits("^a(?i)b|C$", &["aB", "xc"]);
    fits("^(?i:a)b$", &["Ab"]);
    misses("^(?i:a)b$", &["AB"]);
    fits("(?i)É", &["é"]);
}

#[test]
fn unicode_has_categories_and_scripts_of_one_word() {
    fits(r"^\pL\p{Greek}\P{Lu}\p{^Lu}$", &["aαbc"]);
    fits(r"^\p{Letter}\p{lu}\p{Any}\p{Zl}$", &["aA1\u{2028}"]);
    refuses(r"\p{Old_Italic}", "Unicode");
    refuses(r"\p{Grek}", "Unicode");
    refuses(r"\p{Alphabetic}", "Unicode");
    refuses(r"\p{Greek", "`}`");
    refuses(r"\p", "Unicode");
}

#[test]
fn escapes_are_those_of_go() {
    fits(r"^\x41\x{212a}\101\07\.\_\-\/$", &["A\u{212a}A\x07._-/"]);
    for wrong in [r"\8", r"\h", r"\Z", r"\C", r"\é", r"\x4", r"\x{}", r"\x{110000}", r"[\b]"] {
        refuses(wrong, "no such escape");
    }
    refuses(r"(a)\1", "back references");
    refuses("a\\", "ends the expression");
    misses(r"\x{d800}", &["\u{fffd}"]);
    fits(r"[\x{d000}-\x{f000}]", &["\u{e000}"]);
}

#[test]
fn brackets_are_those_of_go() {
    fits("^[]a][^]a][a-][-a]$", &["]b--"]);
    fits("^[[a]$", &["["]);
    fits("[^a]", &["\n"]);
    misses(".", &["\n"]);
    fits("(?s).", &["\n"]);
    misses(r"[^\x00-\x{10ffff}]", &["a", ""]);
    fits("^[a&&b]$", &["&"]);
    refuses("[a", "`[` without");
    refuses("[b-a]", "range");
    refuses(r"[a-\d]", "no such escape");
    refuses("[[:foo:]]", "name");
}

#[test]
fn groups_and_repetitions_are_those_of_go() {
    fits("^(?P<n>a)(?<n>b)(?:c)(?U)d+(?-s)$", &["abcd"]);
    fits("^a(?i)*$", &["aaa"]);
    fits("a||b", &[""]);
    fits("^*$", &[""]);
    for wrong in ["(?=a)", "(?!a)", "(?-)", "(?x)", "(?i", "(?P=n)", "(?#a)"] {
        refuses(wrong, "kind of group");
    }
    refuses("(?P<a-b>c)", "name");
    refuses("a**", "directly behind");
    refuses("a{2}{3}", "directly behind");
    refuses("*", "in front");
    refuses("(|*)", "in front");
    refuses("a{1001}", "1000");
    refuses("(a{100}){11}", "1000");
    refuses("a)", "without its `(`");
    refuses("(a", "no `)`");
}

#[test]
fn a_byte_that_is_no_character_is_seen_as_one_unknown_character() {
    assert_eq!(outcome("^/\u{fffd}\u{fffd}$", b"/\xf0\x9f"), Ok(true));
    assert_eq!(outcome("^..$", b"\xc3/"), Ok(true));
}

#[test]
fn size_and_nesting_are_bounded() {
    refuses(&format!("{}{}", "(".repeat(10_000), ")".repeat(10_000)), "200 levels");
    refuses(&format!("a{}", "*(?i)".repeat(10_000)), "200 levels");
    refuses(r"\pL{1000}", "too large");
    refuses(r"(?:[^.]{30}\w{30}){30}\pL{500}", "too large");
    refuses(&r"\pL".repeat(20_000), "sets are too large");
    fits(&format!("^{}", "a?".repeat(5_000)), &[""]);
    let mut budget = Budget::new();
    let kept = (0..5_000).take_while(|_| Pattern::new("a", &mut budget).is_ok()).count();
    assert!((500..=1024).contains(&kept), "{kept}");
}
