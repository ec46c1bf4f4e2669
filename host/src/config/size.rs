//! Sizes in bytes as they are written: `512B`, `64KiB`, `1MiB`, `2GiB`.

/// Units from the largest, in bytes.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a whole number with a unit; `None` when it is not one or does not fit.
pub(super) fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// Writes a size in the largest unit that divides it.
pub(super) fn display(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// The size that a near miss (`64kb`, `1 M`) probably means.
pub(super) fn suggest(text: &str) -> Option<String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
    let (number, unit) = text.split_at(digits);
    let letter = unit.trim().to_ascii_uppercase();
    let name = match letter.as_str() {
        "K" | "KB" | "KIB" => "KiB",
        "M" | "MB" | "MIB" => "MiB",
        "G" | "GB" | "GIB" => "GiB",
        "B" => "B",
        _ => return None,
    };
    Some(format!("{number}{name}"))
}
