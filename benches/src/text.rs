//! Numbers as they are read.

/// Three digits or so, with `k` or `M` for what is large.
pub(crate) fn short(number: f64) -> String {
    match number {
        _ if number >= 1e7 => format!("{:.0} M", number / 1e6),
        _ if number >= 1e6 => trim(format!("{:.2}", number / 1e6)) + " M",
        _ if number >= 1e4 => format!("{:.0} k", number / 1e3),
        _ if number >= 100.0 => format!("{number:.0}"),
        _ if number >= 10.0 => trim(format!("{number:.1}")),
        _ => trim(format!("{number:.2}")),
    }
}

/// A time in µs, or in ms when it is long.
pub(crate) fn micros(micros: f64) -> String {
    match micros >= 1000.0 {
        true => format!("{} ms", short(micros / 1000.0)),
        false => format!("{} µs", short(micros)),
    }
}

/// Bytes in the unit in which they are round.
pub(crate) fn bytes(bytes: usize) -> String {
    match bytes {
        _ if bytes >= 1 << 20 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

/// Without zeros that say nothing.
fn trim(number: String) -> String {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let numbers = [0.0, 0.456, 12.34, 345.6, 9_876.0, 98_765.0, 2_345_678.0, 23_456_789.0];
        let expected = ["0", "0.46", "12.3", "346", "9876", "99 k", "2.35 M", "23 M"];
        assert_eq!(numbers.map(short), expected);
    }

    #[test]
    fn long_times_are_in_milliseconds() {
        assert_eq!([1.91, 4161.0].map(micros), ["1.91 µs", "4.16 ms"]);
    }

    #[test]
    fn sizes_are_in_the_unit_in_which_they_are_round() {
        let sizes = [1, 1 << 10, 64 << 10, 1 << 20, (64 << 20) - 64];
        assert_eq!(sizes.map(bytes), ["1 B", "1 KiB", "64 KiB", "1 MiB", "64 MiB"]);
    }
}
