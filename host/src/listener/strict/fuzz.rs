//! Fuzz target of the watcher.

use super::{Broken, LINE_BYTES, Watcher};

/// Any bytes of a connection, after one that says how long the pieces are in which they come: what is said of them does not
/// depend on the pieces, at most the beginning of a line is kept, and nothing is said after the first broken rule.
pub(crate) fn strict(input: &[u8]) {
    let Some((length, bytes)) = input.split_first() else { return };
    let mut whole = Watcher::default();
    let verdict = whole.feed(bytes);
    let mut lengths = [4 * usize::from(*length) + 1, 1, 7].into_iter().cycle();
    let (mut uneven, mut rest) = (Watcher::default(), bytes);
    let said = uneven.feed_all(std::iter::from_fn(|| {
        let (piece, later) = rest.split_at(lengths.next()?.min(rest.len()));
        rest = later;
        (!piece.is_empty()).then_some(piece)
    }));
    let mut single = Watcher::default();
    let said_singly = single.feed_all(bytes.chunks(1));
    for (watcher, said) in [(uneven, said), (single, said_singly)] {
        assert_eq!(verdict, said, "pieces matter");
        assert_eq!(whole.state, watcher.state, "pieces matter for what is expected next");
        assert_eq!(whole.is_mid_head(), watcher.is_mid_head(), "pieces matter for where the head ends");
        assert_eq!(whole.heads, watcher.heads, "pieces matter for the number of heads");
    }
    if verdict.is_err() {
        assert_eq!(whole.feed(bytes), Ok(()), "a second rule is named");
    }
}

impl Watcher {
    fn feed_all<'a>(&mut self, mut pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), Broken> {
        pieces.try_for_each(|piece| {
            let said = self.feed(piece);
            assert!(self.line.len() <= LINE_BYTES, "more than the beginning of a line is kept");
            said
        })
    }
}
