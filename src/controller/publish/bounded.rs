//! Text from tenants, cut to what an object can hold: one that is too large would be refused by the
//! API server, and tried again for ever.

/// `text`, or as much of it as fits with a sign that it goes on. `max` in bytes.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = max.saturating_sub('…'.len_utf8());
    let mut short = String::new();
    for letter in text.chars() {
        if short.len() + letter.len_utf8() > end {
            break;
        }
        short.push(letter);
    }
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_fits_stays_and_longer_text_is_cut_between_letters() {
        assert_eq!(cut("größe", 7), "größe");
        assert_eq!(cut("größe", 6), "gr…");
        assert_eq!(cut(&"ö".repeat(100), 10), "ööö…");
    }
}
