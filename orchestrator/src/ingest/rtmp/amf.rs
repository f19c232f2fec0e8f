//! Reads AMF0 values (AMF 0 specification, December 2007) within fixed bounds.
//!
//! Nesting and the number of values are limited; references are refused, since with them a few hundred bytes
//! stand for values without end.

use std::collections::HashMap;

use bytes::Buf;
use rtmp_rs::amf::AmfValue as Value;

/// Values within values; publishers use 2.
const DEPTH_MAX: u32 = 8;
/// Values of one message in all.
const VALUES_MAX: u32 = 1_024;

/// Broken AMF0, or a passed limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// It ends within a value.
    #[error("an AMF value ends early")]
    Short,
    /// A type that publishers don't send.
    #[error("an AMF value has type {0}")]
    Type(u8),
    /// Too many values, or values too deep within values.
    #[error("more than {VALUES_MAX} AMF values, or more than {DEPTH_MAX} within each other")]
    TooMany,
}

/// Reads values until the bytes end. What stands before a broken one is given with the error.
pub(crate) fn read(mut bytes: &[u8]) -> (Vec<Value>, Result<(), Error>) {
    let mut values = Vec::new();
    let mut left = VALUES_MAX;
    while !bytes.is_empty() {
        match value(&mut bytes, DEPTH_MAX, &mut left) {
            Ok(value) => values.push(value),
            Err(error) => return (values, Err(error)),
        }
    }
    (values, Ok(()))
}

fn value(bytes: &mut &[u8], depth_left: u32, left: &mut u32) -> Result<Value, Error> {
    if depth_left == 0 || *left == 0 {
        return Err(Error::TooMany);
    }
    *left -= 1;
    Ok(match bytes.try_get_u8().map_err(|_| Error::Short)? {
        0x00 => Value::Number(f64::from_be_bytes(*take(bytes)?)),
        0x01 => Value::Boolean(take::<1>(bytes)? != &[0]),
        0x02 => Value::String(short_text(bytes)?),
        0x03 => Value::Object(fields(bytes, depth_left, left)?),
        0x05 => Value::Null,
        0x06 => Value::Undefined,
        0x08 => {
            // The declared count is wrong often enough that everyone reads to the end marker.
            take::<4>(bytes)?;
            Value::EcmaArray(fields(bytes, depth_left, left)?)
        }
        0x0a => {
            let count = u32::from_be_bytes(*take(bytes)?);
            let mut values = Vec::new();
            for _ in 0..count {
                values.push(value(bytes, depth_left - 1, left)?);
            }
            Value::Array(values)
        }
        0x0b => {
            let time = f64::from_be_bytes(*take(bytes)?);
            take::<2>(bytes)?;
            Value::Date(time)
        }
        0x0c => {
            let length = u32::from_be_bytes(*take(bytes)?) as usize;
            Value::String(text(bytes, length)?)
        }
        kind => return Err(Error::Type(kind)),
    })
}

/// Fields up to the end marker: an empty name and type 9.
fn fields(bytes: &mut &[u8], depth_left: u32, left: &mut u32) -> Result<HashMap<String, Value>, Error> {
    let mut fields = HashMap::new();
    loop {
        let name = short_text(bytes)?;
        if name.is_empty() && bytes.first() == Some(&9) {
            bytes.advance(1);
            return Ok(fields);
        }
        fields.insert(name, value(bytes, depth_left - 1, left)?);
    }
}

fn short_text(bytes: &mut &[u8]) -> Result<String, Error> {
    let length = u16::from_be_bytes(*take(bytes)?).into();
    text(bytes, length)
}

fn text(bytes: &mut &[u8], length: usize) -> Result<String, Error> {
    let (text, rest) = bytes.split_at_checked(length).ok_or(Error::Short)?;
    *bytes = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Error> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Error::Short)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtmp_rs::amf::amf0;

    use super::*;

    #[test]
    fn what_the_crate_writes_is_read() {
        let object = HashMap::from([("app".to_owned(), Value::String("live".to_owned()))]);
        let values = vec![
            Value::String("connect".to_owned()),
            Value::Number(1.0),
            Value::Object(object.clone()),
            Value::Null,
            Value::Boolean(true),
            Value::EcmaArray(object),
            Value::Array(vec![Value::Undefined, Value::Date(7.0)]),
            Value::String("long".repeat(20_000)),
        ];
        assert_eq!(read(&amf0::encode_all(&values)), (values, Ok(())));
    }

    #[test]
    fn bombs_are_refused() {
        let nested = [0x0a, 0, 0, 0, 1].repeat(1_000);
        assert_eq!(read(&nested).1, Err(Error::TooMany));
        let many = [0x0a, 0xff, 0xff, 0xff, 0xff].into_iter().chain([5; 5_000]).collect::<Vec<u8>>();
        assert_eq!(read(&many).1, Err(Error::TooMany));
        let reference = [0x03, 0, 1, b'a', 0x07, 0, 0, 0, 0, 9];
        assert_eq!(read(&reference).1, Err(Error::Type(7)));
        assert_eq!(read(&[0x0c, 0xff, 0xff, 0xff, 0xff, 1]).1, Err(Error::Short));
    }

    #[test]
    fn what_stands_before_a_broken_value_is_given() {
        assert_eq!(read(&[0x05, 0x01, 1, 0x00, 9]), (vec![Value::Null, Value::Boolean(true)], Err(Error::Short)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (values, _) = read(&bytes);
            prop_assert!(values.len() <= bytes.len());
        }
    }
}
