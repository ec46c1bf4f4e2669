//! The generic cell rate algorithm: how many requests per window, how many of them at once.
//!
//! A pure function over one number per key, the *theoretical arrival time*: when the key would be as if never used. It lies
//! ahead of the present by one interval (window ÷ limit) for every request taken. A request passes when that would put
//! it no further ahead than a whole burst.

/// No window or burst reaches further than this (nanoseconds, 146 years), so that no sum here can overflow.
const HORIZON: u64 = 1 << 62;

/// What was decided for one request. Times are from now, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    /// Whether it passes.
    pub allowed: bool,
    /// What a burst could still take after it.
    pub remaining: u64,
    /// Until the key is as if never used.
    pub reset_ns: u64,
    /// Until the same request would pass: 0 when it did, `u64::MAX` when it never will.
    pub retry_after_ns: u64,
}

/// A rate, with every number made safe to calculate with.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Nanoseconds that one request uses up; 1 and more. Rounded up, so a limit is never exceeded over a long time.
    interval: u64,
    /// Requests at once. 0: none ever.
    burst: u64,
}

impl Rate {
    /// `limit` requests per window of `window_ns` nanoseconds, `burst` of them at once (0: `limit`). A limit of 0 lets
    /// nothing pass.
    #[must_use]
    pub fn new(limit: u64, window_ns: u64, burst: u64) -> Self {
        if limit == 0 {
            return Self { interval: 1, burst: 0 };
        }
        let interval = window_ns.div_ceil(limit).clamp(1, HORIZON);
        let burst = if burst == 0 { limit } else { burst };
        Self { interval, burst: burst.min(HORIZON / interval) }
    }
}

/// Decides about a request of `cost` at `now` for a key whose theoretical arrival time is `tat`; gives the answer and the
/// new time. Cost 0 asks without taking.
#[must_use]
pub fn decide(tat: u64, now: u64, rate: Rate, cost: u64) -> (Gcra, u64) {
    let now = now.min(HORIZON);
    let tolerance = rate.burst * rate.interval;
    // A time further ahead than a burst can only come from another rate, before a reload: it must not lock the key out.
    let tat = tat.clamp(now, now + tolerance);
    let answer = |allowed, tat: u64, retry_after_ns| Gcra {
        allowed,
        remaining: (now + tolerance - tat) / rate.interval,
        reset_ns: tat - now,
        retry_after_ns,
    };
    if cost > rate.burst {
        return (answer(false, tat, u64::MAX), tat);
    }
    let taken = tat + cost * rate.interval;
    match taken.checked_sub(now + tolerance) {
        None | Some(0) => (answer(true, taken, 0), taken),
        Some(wait) => (answer(false, tat, wait), tat),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many of `tries` requests of cost 1 pass at `now`.
    fn passing(tat: &mut u64, now: u64, rate: Rate, tries: u64) -> usize {
        let mut decide_one = |_: &u64| {
            let (answer, next) = decide(*tat, now, rate, 1);
            *tat = next;
            answer.allowed
        };
        (0..tries).filter(|index| decide_one(index)).count()
    }

    #[test]
    fn a_burst_passes_and_the_next_one_waits_an_interval() {
        let rate = Rate::new(10, SECOND, 3);
        let mut tat = 0;
        assert_eq!(passing(&mut tat, 5 * SECOND, rate, 3), 3);
        let (answer, _) = decide(tat, 5 * SECOND, rate, 1);
        let refused = Gcra { allowed: false, remaining: 0, reset_ns: 3 * SECOND / 10, retry_after_ns: SECOND / 10 };
        assert_eq!(answer, refused);
        assert_eq!(passing(&mut tat, 5 * SECOND + SECOND / 10, rate, 2), 1);
    }

    #[test]
    fn without_a_burst_the_whole_limit_passes_at_once_even_when_it_does_not_divide_the_window() {
        for limit in [1, 3, 7, 1000, 999_999_937] {
            let rate = Rate::new(limit, SECOND, 0);
            let (answer, tat) = decide(0, SECOND, rate, limit);
            assert!(answer.allowed && answer.remaining == 0, "{limit}");
            assert!(!decide(tat, SECOND, rate, 1).0.allowed, "{limit}");
        }
    }

    #[test]
    fn remaining_and_reset_tell_what_is_left() {
        let (answer, _) = decide(0, SECOND, Rate::new(10, SECOND, 0), 4);
        assert_eq!(answer, Gcra { allowed: true, remaining: 6, reset_ns: 4 * SECOND / 10, retry_after_ns: 0 });
    }

    #[test]
    fn cost_zero_asks_without_taking() {
        let rate = Rate::new(2, SECOND, 0);
        let (answer, tat) = decide(0, SECOND, rate, 0);
        assert_eq!((answer.allowed, answer.remaining, tat), (true, 2, SECOND));
    }

    #[test]
    fn what_never_fits_says_so() {
        assert_eq!(decide(0, SECOND, Rate::new(2, SECOND, 0), 3).0.retry_after_ns, u64::MAX);
        let (answer, _) = decide(0, SECOND, Rate::new(0, SECOND, 5), 1);
        assert_eq!((answer.allowed, answer.remaining, answer.retry_after_ns), (false, 0, u64::MAX));
    }

    #[test]
    fn a_key_used_under_a_slower_rate_is_not_locked_out_by_a_faster_one() {
        let (_, tat) = decide(0, SECOND, Rate::new(1, 86_400 * SECOND, 0), 1);
        let faster = Rate::new(100, SECOND, 0);
        let (answer, tat) = decide(tat, SECOND, faster, 1);
        assert!(!answer.allowed && answer.retry_after_ns == SECOND / 100);
        assert!(decide(tat, SECOND + SECOND / 100, faster, 1).0.allowed);
    }

    proptest! {
        #[test]
        fn no_numbers_make_it_panic_or_contradict_itself(
            numbers in any::<[u64; 6]>(),
        ) {
            let [tat, now, limit, window, burst, cost] = numbers;
            let rate = Rate::new(limit, window, burst);
            let (answer, next) = decide(tat, now, rate, cost);
            prop_assert_eq!(answer.allowed, answer.retry_after_ns == 0);
            prop_assert!(answer.remaining <= rate.burst);
            prop_assert!(next >= now.min(HORIZON));
        }

        #[test]
        fn after_the_time_to_retry_the_request_passes(
            limit in 1..1000_u64, window in 1..u64::from(u32::MAX), burst in 1..100_u64, used in 0..200_u64, cost in 1..100_u64,
        ) {
            let rate = Rate::new(limit, window, burst);
            let mut tat = 0;
            passing(&mut tat, SECOND, rate, used);
            let (answer, tat) = decide(tat, SECOND, rate, cost);
            if answer.retry_after_ns < u64::MAX {
                prop_assert!(answer.allowed || decide(tat, SECOND + answer.retry_after_ns, rate, cost).0.allowed);
                prop_assert!(answer.allowed || !decide(tat, SECOND + answer.retry_after_ns - 1, rate, cost).0.allowed);
            }
        }
    }
}
