//! Values of playlist tags. Pure.

use std::collections::HashMap;

/// Attributes of one tag; a value is known as quoted or as plain (RFC 8216, 4.2).
#[derive(Debug, Default)]
pub(super) struct Attributes<'a>(HashMap<&'a str, (bool, &'a str)>);

impl<'a> Attributes<'a> {
    pub(super) fn quoted(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).filter(|(quoted, _)| *quoted).map(|(_, value)| *value)
    }

    pub(super) fn plain(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).filter(|(quoted, _)| !*quoted).map(|(_, value)| *value)
    }
}

/// `NAME=value,NAME="value",...`; `None` if it is none such.
pub(super) fn attributes(mut text: &str) -> Option<Attributes<'_>> {
    let mut found = HashMap::new();
    while !text.trim_start().is_empty() {
        let (name, rest) = text.split_once('=')?;
        let (quoted, value, rest) = if let Some(rest) = rest.strip_prefix('"') {
            let (value, rest) = rest.split_once('"')?;
            (true, value, rest.trim_start().strip_prefix(',').unwrap_or(rest))
        } else {
            let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
            (false, value.trim(), rest)
        };
        found.insert(name.trim().trim_start_matches(','), (quoted, value));
        text = rest;
    }
    Some(Attributes(found))
}

/// Seconds with a fraction, up to a comma, in milliseconds.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.split(',').next()?.trim().parse().ok()?;
    (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1_000.0).round() as u64)
}

/// `LENGTH` or `LENGTH@FIRST`, at least one byte, and no more than can be counted on.
pub(super) fn span(text: &str) -> Option<(u64, Option<u64>)> {
    let fits = |number: &u64| *number < 1 << 53;
    let number = |text: &str| text.trim().parse().ok().filter(fits);
    let (bytes, first) = match text.split_once('@') {
        None => (number(text)?, None),
        Some((bytes, first)) => (number(bytes)?, Some(number(first)?)),
    };
    (bytes > 0).then_some((bytes, first))
}

/// `0x` and up to 32 hexadecimal digits.
pub(super) fn iv(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let plain = !digits.is_empty() && digits.len() <= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes))?
}
