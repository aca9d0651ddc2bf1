//! Whether so many certificates lost their routes at once that a fault is likelier than a wish.

use jiff::{SignedDuration, Timestamp};

/// Those that became unused within so long count together.
pub const TOGETHER: SignedDuration = SignedDuration::from_hours(1);
/// So few are no mass, whatever share of all they are.
const FEW: usize = 10;

/// Whether more than the larger of ten and a tenth `of` all certificates became unused within an
/// hour. `times`: when each did, the earliest first.
pub fn is_mass(times: impl Iterator<Item = Timestamp> + Clone, of: usize) -> bool {
    let limit = FEW.max(of / 10);
    let later = times.clone().skip(limit);
    times.zip(later).any(|(first, last)| last.duration_since(first) <= TOGETHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: &[i64]) -> Vec<Timestamp> {
        minutes.iter().map(|it| Timestamp::from_second(it * 60).unwrap()).collect()
    }

    fn mass(minutes: &[i64], of: usize) -> bool {
        is_mass(at(minutes).into_iter(), of)
    }

    #[test]
    fn ten_are_few_and_eleven_within_an_hour_are_a_mass() {
        assert!(!mass(&[], 0));
        assert!(!mass(&[0; 10], 10));
        assert!(mass(&[0; 11], 11));
        assert!(mass(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 60], 100));
        assert!(!mass(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 61], 100));
    }

    #[test]
    fn of_many_a_tenth_may_go() {
        assert!(!mass(&[0; 100], 1000));
        assert!(mass(&[0; 101], 1000));
        assert!(!mass(&[0; 100], 1009));
    }

    #[test]
    fn an_hour_may_begin_at_any_of_them() {
        let minutes: Vec<i64> = [0, 10].into_iter().chain([65; 11]).collect();
        assert!(mass(&minutes, 0));
        let slow: Vec<i64> = (0..100).map(|one| one * 7).collect();
        assert!(!mass(&slow, 0));
    }
}
