//! The weight of a name, shared evenly by its addresses, in whole numbers.

/// Divisible by every number of addresses up to ten; with more of them shares are right to a thousandth.
const PARTS: u64 = 5040;

/// The weights of the addresses of several targets. Each target: its weight, and how many addresses it has.
pub(super) fn shares(targets: &[(u32, usize)]) -> Vec<u32> {
    let share = |(weight, count): &(u32, usize)| match (*weight, u64::try_from(*count).unwrap_or(u64::MAX)) {
        (0, _) | (_, 0) => 0,
        (weight, count) => (u64::from(weight) * PARTS / count).max(1),
    };
    let shares: Vec<u64> = targets.iter().map(share).collect();
    // The smallest numbers that say the same: equal weights are all 1 again.
    let divisor = shares.iter().copied().fold(0, greatest_common_divisor).max(1);
    let most = shares.iter().max().copied().unwrap_or(0) / divisor;
    let divisor = divisor * (most / u64::from(u32::MAX) + 1);
    let whole = |share: &u64| if *share == 0 { 0 } else { u32::try_from(share / divisor).unwrap_or(u32::MAX).max(1) };
    shares.iter().map(whole).collect()
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn addresses_share_the_weight_of_their_name_evenly() {
        assert_eq!(shares(&[(1, 1), (1, 1)]), [1, 1]);
        assert_eq!(shares(&[(1, 3)]), [1]);
        assert_eq!(shares(&[(1, 1), (1, 2)]), [2, 1], "two addresses get together what the other one gets");
        assert_eq!(shares(&[(3, 2), (1, 3), (0, 2), (5, 0)]), [9, 2, 0, 0]);
        let large = shares(&[(1_000_000, 1), (999_999, 7), (1, 1000)]);
        assert!(large[0] / large[1] == 7 && large[2] >= 1, "{large:?}");
    }
}
