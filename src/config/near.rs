//! The right key for one that is nearly right.

/// The key of `known` that `written` was probably meant to be, letters of any case.
pub(crate) fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let written = fold(written);
    let length = written.chars().count();
    if !(2..=64).contains(&length) {
        return None;
    }
    let allowed = (length / 3).clamp(1, 3);
    known
        .map(|key| (distance(&written, &fold(key)), key))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

/// The only key that `written` is the beginning of, or that is the beginning of `written`.
pub(super) fn beginning<'k>(
    written: &str,
    known: impl Iterator<Item = &'k str>,
) -> Option<&'k str> {
    let written = fold(written);
    let fits = |key: &str| {
        let key = fold(key);
        key.len().min(written.len()) >= 3
            && (key.starts_with(&written) || written.starts_with(&key))
    };
    let mut fitting = known.filter(|key| fits(key));
    fitting.next().filter(|_| fitting.next().is_none())
}

pub(super) fn fold(key: &str) -> String {
    key.to_lowercase()
}

/// Letters to add, remove, replace, or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, letter) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let replaced = cell(&row, j) + usize::from(letter != *other);
            let mut best = replaced.min(cell(&row, j + 1) + 1).min(cell(&next, j) + 1);
            let left = j.checked_sub(1);
            if last == Some(*other) && left.and_then(|at| b.get(at)) == Some(&letter) {
                best = best.min(cell(&before, j.saturating_sub(1)) + 1);
            }
            next.push(best);
        }
        last = Some(letter);
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(usize::MAX)
}
