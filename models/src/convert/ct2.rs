//! Reads a `model.bin` of `CTranslate2` (its `python/ctranslate2/specs/model_spec.py` writes it): little-endian; texts
//! have a length of 16 bits that counts a zero at their end.

use std::collections::BTreeMap;

/// Versions of the format that are the same in what is read here.
const VERSIONS: std::ops::RangeInclusive<u32> = 5..=6;

/// More than any Whisper has.
const LAYERS_MAX: usize = 1_000;

/// All tensors, by name.
pub(super) struct Model<'a> {
    tensors: BTreeMap<&'a str, Tensor<'a>>,
}

/// One tensor; its numbers row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor<'a> {
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) bytes: &'a [u8],
}

/// What its numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F16,
    I8,
    I16,
    /// Others are of no use here.
    Other,
}

impl<'a> Model<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut from = Reader(bytes);
        let version = from.u32()?;
        if !VERSIONS.contains(&version) {
            return Err(format!("it is of version {version} of CTranslate2's format"));
        }
        let name = from.text()?;
        if name != "WhisperSpec" {
            return Err(format!("it is a {name}, no Whisper"));
        }
        let _revision = from.u32()?;
        let mut tensors = BTreeMap::new();
        for _ in 0..from.u32()? {
            let name = from.text()?;
            let shape =
                (0..from.u8()?).map(|_| from.u32().map(|length| length as usize)).collect::<Result<Vec<_>, _>>()?;
            let kind = match from.u8()? {
                1 => Kind::I8,
                2 => Kind::I16,
                4 => Kind::F16,
                _ => Kind::Other,
            };
            let length = from.u32()? as usize;
            let bytes = from.take(length)?;
            tensors.insert(name, Tensor { shape, kind, bytes });
        }
        Ok(Self { tensors })
    }

    /// A tensor of half-precision numbers.
    pub(super) fn floats(&self, name: &str) -> Result<&Tensor<'a>, String> {
        let tensor = self.tensors.get(name).ok_or_else(|| format!("it has no {name}"))?;
        let whole = tensor.shape.iter().try_fold(2_usize, |bytes, length| bytes.checked_mul(*length));
        if tensor.kind != Kind::F16 || whole != Some(tensor.bytes.len()) {
            return Err(format!("{name} is not of float16: only such models are converted"));
        }
        Ok(tensor)
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str) -> Result<u32, String> {
        let tensor = self.tensors.get(name).ok_or_else(|| format!("it has no {name}"))?;
        match (tensor.kind, tensor.bytes) {
            (Kind::I8, [byte]) => Ok((*byte).into()),
            (Kind::I16, [low, high]) => Ok(u16::from_le_bytes([*low, *high]).into()),
            _ => Err(format!("{name} is no number")),
        }
    }

    /// Layers of `encoder` or `decoder`.
    pub(super) fn layers(&self, side: &str) -> usize {
        let has =
            |number: &usize| self.tensors.contains_key(format!("{side}/layer_{number}/ffn/linear_0/weight").as_str());
        (0..LAYERS_MAX).take_while(has).count()
    }
}

impl Tensor<'_> {
    /// Rows `part` of `parts` equal ones.
    pub(super) fn split(&self, part: usize, parts: usize) -> Result<Self, String> {
        let rows = self.shape.first().copied().unwrap_or(0);
        if rows % parts != 0 {
            return Err(format!("{rows} rows are not {parts} times as many"));
        }
        let bytes = self.bytes.len() / parts;
        let mut shape = self.shape.clone();
        shape[0] = rows / parts;
        Ok(Self { shape, kind: self.kind, bytes: &self.bytes[part * bytes..][..bytes] })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().expect("two bytes"));
        let text = self.take(length.into())?;
        let text = text.strip_suffix(&[0]).ok_or("a text has no end")?;
        std::str::from_utf8(text).map_err(|_| "a name is no text".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u16 + 1).to_le_bytes()[..], text.as_bytes(), &[0]].concat()
    }

    fn model(name: &str) -> Vec<u8> {
        let tensor = [
            &text("a")[..],
            &[2],
            &2_u32.to_le_bytes(),
            &1_u32.to_le_bytes(),
            &[4],
            &4_u32.to_le_bytes(),
            &[1, 2, 3, 4],
        ];
        [&6_u32.to_le_bytes()[..], &text(name), &3_u32.to_le_bytes(), &1_u32.to_le_bytes(), &tensor.concat()].concat()
    }

    #[test]
    fn tensors_are_found_and_split() {
        let bytes = model("WhisperSpec");
        let model = Model::read(&bytes).unwrap();
        let tensor = model.floats("a").unwrap();
        assert_eq!((tensor.shape.as_slice(), tensor.bytes), (&[2, 1][..], &[1, 2, 3, 4][..]));
        assert_eq!(tensor.split(1, 2).unwrap().bytes, [3, 4]);
        assert!(tensor.split(0, 3).is_err() && model.floats("b").is_err() && model.number("a").is_err());
    }

    #[test]
    fn what_is_cut_or_strange_is_told() {
        let bytes = model("WhisperSpec");
        for length in 0..bytes.len() {
            assert!(Model::read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Model::read(&model("TransformerSpec")).is_err());
    }
}
