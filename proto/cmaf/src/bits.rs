//! Reads bits, most significant first, as the MPEG standards write them.

/// A place in some bytes.
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 32, as a number; nothing beyond the end.
    pub(crate) fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// An unsigned exponential-Golomb number (ISO/IEC 23008-2, 9.2).
    pub(crate) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// Passes over `count` bits.
    pub(crate) fn skip(&mut self, count: usize) {
        self.at += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_standard_lists_them() {
        // 1, 010, 011, 00100: the first rows of ISO/IEC 23008-2, table 9-2.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([(); 4].map(|()| bits.golomb()), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(bits.take(4), Some(0));
        assert_eq!(bits.take(1), None);
        assert_eq!(Bits::new(&[0; 9]).golomb(), None);
        let mut bits = Bits::new(&[0xff, 0x0f]);
        bits.skip(4);
        assert_eq!((bits.take(8), bits.take(4)), (Some(0xf0), Some(0xf)));
    }
}
