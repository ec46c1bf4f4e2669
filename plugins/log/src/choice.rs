//! Which requests are logged.

/// Which statuses are logged, and how many of them.
#[derive(Debug)]
pub(crate) struct Choice {
    only: Vec<(u16, u16)>,
    /// Requests whose hash is at or above this are left out.
    threshold: f64,
}

impl Choice {
    /// Checks the options.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(only: &[String], min_status: Option<u64>, sample: f64) -> Result<Self, String> {
        if !(0.0..=1.0).contains(&sample) {
            return Err(format!("sample {sample} is not between 0 and 1"));
        }
        let mut ranges = only.iter().map(|text| range(text)).collect::<Result<Vec<_>, _>>()?;
        if let Some(min) = min_status {
            let min = u16::try_from(min).ok().filter(|min| (100..600).contains(min));
            ranges.push((min.ok_or("min_status is not between 100 and 599")?, 999));
        }
        Ok(Self { only: ranges, threshold: sample })
    }

    /// Whether a request is logged. One that ended without a response (status 0) is nobody's class and passes `only`.
    #[must_use]
    pub(crate) fn logs(&self, status: u16, request_id: &str) -> bool {
        let listed =
            self.only.is_empty() || status == 0 || self.only.iter().any(|(from, to)| (*from..=*to).contains(&status));
        listed && (self.threshold >= 1.0 || place(request_id) < self.threshold)
    }
}

/// `5xx`, or a status.
fn range(text: &str) -> Result<(u16, u16), String> {
    let error = || format!("only: {text:?} is neither a class (\"5xx\") nor a status (\"404\")");
    let digits = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
    let number = |digits: &str| digits.parse::<u16>().map_err(|_| error());
    match digits {
        Some(class) => match number(class)? {
            class @ 1..=5 => Ok((class * 100, class * 100 + 99)),
            _ => Err(error()),
        },
        None => match number(text)? {
            status @ 100..=599 => Ok((status, status)),
            _ => Err(error()),
        },
    }
}

/// A request's place between 0 and 1, the same wherever it is logged: its id, hashed (FNV-1a).
fn place(request_id: &str) -> f64 {
    let hash = request_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // The upper bits of a short input's FNV are poorly mixed; one multiplicative round (from splitmix64) mixes them.
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    f64::from(u32::try_from((mixed ^ (mixed >> 27)) >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(only: &[&str], min_status: Option<u64>, sample: f64) -> Choice {
        let only: Vec<String> = only.iter().map(|text| (*text).to_owned()).collect();
        Choice::new(&only, min_status, sample).unwrap()
    }

    #[test]
    fn only_the_listed_statuses_are_logged() {
        let some = choice(&["4xx", "503"], None, 1.0);
        for (status, expected) in [(200, false), (400, true), (499, true), (500, false), (503, true), (0, true)] {
            assert_eq!(some.logs(status, "a"), expected, "{status}");
        }
        let high = choice(&[], Some(500), 1.0);
        assert!(high.logs(500, "a") && !high.logs(499, "a"));
        assert!(choice(&[], None, 1.0).logs(200, "a"));
    }

    #[test]
    fn a_sample_takes_its_share_and_always_the_same_requests() {
        let tenth = choice(&[], None, 0.1);
        let ids: Vec<String> = (0..10_000).map(|id| format!("req-{id}")).collect();
        let taken: Vec<&String> = ids.iter().filter(|id| tenth.logs(200, id)).collect();
        assert!((800..1200).contains(&taken.len()), "{}", taken.len());
        assert!(taken.iter().all(|id| tenth.logs(500, id)));
        assert!(!ids.iter().any(|id| choice(&[], None, 0.0).logs(200, id)));
    }

    #[test]
    fn bad_options_are_refused() {
        for bad in ["6xx", "0xx", "xx", "abc", "99", "600", "-1", ""] {
            assert!(Choice::new(&[bad.to_owned()], None, 1.0).is_err(), "{bad}");
        }
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(Choice::new(&[], None, bad).is_err());
        }
        assert!(Choice::new(&[], Some(99), 1.0).is_err());
    }
}
