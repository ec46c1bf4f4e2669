//! Turns by weight: each gets its share as evenly as can be, not by chance.

use std::cell::Cell;

/// One of those that take turns.
pub struct Turn {
    /// Its share, against those of the others.
    pub weight: u32,
    /// How far it is behind its share.
    due: Cell<i64>,
}

impl Turn {
    /// One that has had no turn yet.
    #[must_use]
    pub fn new(weight: u32) -> Self {
        Self { weight, due: Cell::new(0) }
    }
}

/// The place of the one that is furthest behind its share, the first of several.
pub fn next<'a>(turns: impl Iterator<Item = (usize, &'a Turn)>) -> Option<usize> {
    let mut total = 0;
    let mut furthest: Option<(usize, &Turn)> = None;
    for (place, turn) in turns {
        let weight = i64::from(turn.weight);
        turn.due.set(turn.due.get() + weight);
        total += weight;
        if furthest.is_none_or(|(_, other)| turn.due.get() > other.due.get()) {
            furthest = Some((place, turn));
        }
    }
    let (place, turn) = furthest?;
    turn.due.set(turn.due.get() - total);
    Some(place)
}
