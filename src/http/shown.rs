//! Text from outside, as a person may see it.

/// Text from a CA or a DNS server as it may be shown: at most 512 bytes, no control characters.
pub fn shown(text: &str) -> String {
    let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() > 512 {
        let mut end = 509;
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        clean.truncate(end);
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn text_from_outside_is_cut_and_cleaned() {
        assert_eq!(shown("a\u{1b}[31m\nb"), "a [31m b");
        assert!(shown(&"é".repeat(1000)).len() <= 512);
    }
}
