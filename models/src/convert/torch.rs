//! Reads a file of `PyTorch`'s old kind, as `torch.save` wrote it before version 1.6: five pickles, then the numbers. A
//! pickle is a program; of its instructions only those are known that such a file takes, and what they may call are three
//! names that make nothing but tables.

mod pickle;

use std::collections::BTreeMap;

use pickle::Value;

use super::onnx::Tensor;

/// What the first pickle says, and the second.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1_001;

/// A tensor that is a view of some numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    key: String,
    kind: Kind,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// What the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    I64,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

/// All tensors of single precision, by their names.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let mut rest = bytes;
    let mut next = || pickle::read(&mut rest);
    match (next()?, next()?) {
        (Value::Bytes(magic), Value::Int(VERSION)) if magic == MAGIC => {}
        _ => return Err("it is no file of PyTorch's old kind".into()),
    }
    let _machine = next()?;
    let (Value::Table(named), Value::List(keys)) = (next()?, next()?) else {
        return Err("it holds no table of tensors".into());
    };
    let mut views: Vec<(String, View)> = Vec::new();
    for (name, value) in named {
        match (name, value) {
            (Value::Text(name), Value::Tensor(view)) => views.push((name, view)),
            (name, _) => return Err(format!("{name:?} is no tensor")),
        }
    }
    let numbers = storages(rest, &keys, &views)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in views.into_iter().filter(|(_, view)| view.kind == Kind::F32) {
        let tensor = view.take(&numbers).ok_or_else(|| format!("{name} lies outside of its numbers"))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// The bytes of each storage: a count of 64 bits, then the numbers, one storage after the other.
fn storages<'a>(
    mut rest: &'a [u8],
    keys: &[Value],
    views: &[(String, View)],
) -> Result<BTreeMap<String, &'a [u8]>, String> {
    let kinds: BTreeMap<&str, Kind> = views.iter().map(|(_, view)| (view.key.as_str(), view.kind)).collect();
    let mut storages = BTreeMap::new();
    for key in keys {
        let Value::Text(key) = key else { return Err("a storage has no name".into()) };
        let kind = kinds.get(key.as_str()).ok_or("a storage belongs to no tensor")?;
        let (count, after) = rest.split_first_chunk::<8>().ok_or("it ends too early")?;
        let length = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(kind.bytes()));
        let (own, after) = length.and_then(|length| after.split_at_checked(length)).ok_or("it ends too early")?;
        storages.insert(key.clone(), own);
        rest = after;
    }
    Ok(storages)
}

impl View {
    fn take(&self, storages: &BTreeMap<String, &[u8]>) -> Option<Tensor> {
        let numbers = storages.get(&self.key)?;
        let count = self.shape.iter().try_fold(1_usize, |count, side| count.checked_mul(*side))?;
        // No view has more numbers than its storage: they are never spread over more.
        if count > numbers.len() / 4 {
            return None;
        }
        let mut place = vec![0; self.shape.len()];
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            let mut steps = place.iter().zip(&self.strides);
            let at = steps.try_fold(self.offset, |at, (index, stride)| at.checked_add(stride.checked_mul(*index)?))?;
            let word = numbers.get(at.checked_mul(4)?..)?.first_chunk()?;
            taken.push(f32::from_le_bytes(*word));
            for (index, side) in place.iter_mut().zip(&self.shape).rev() {
                *index += 1;
                if *index < *side {
                    break;
                }
                *index = 0;
            }
        }
        Some(Tensor::floats(&self.shape, taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one tensor `w` of two numbers, as `torch.save` writes it.
    fn file() -> Vec<u8> {
        let text = |text: &str| [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let magic = [&[0x80, 2, 0x8a, 10][..], MAGIC, b"."].concat();
        let version = [0x80, 2, b'M', 0xe9, 3, b'.'];
        let machine = [0x80, 2, b'}', b'.'];
        let storage = [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("7"), &text("cpu"), b"K\x02NtQ"];
        let tensor = [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], &storage.concat(), b"K\0K\x02\x85K\x01\x85\x89}tR"];
        let table = [&b"\x80\x02ccollections\nOrderedDict\n)Rq\0("[..], &text("w"), &tensor.concat(), b"u."].concat();
        let keys = [&b"\x80\x02]("[..], &text("7"), b"e."].concat();
        let numbers = [&2_u64.to_le_bytes()[..], &1.5_f32.to_le_bytes(), &(-3.0_f32).to_le_bytes()].concat();
        [&magic[..], &version, &machine, &table, &keys, &numbers].concat()
    }

    #[test]
    fn a_tensor_is_read() {
        let tensors = read(&file()).unwrap();
        assert_eq!(tensors["w"], Tensor::floats(&[2], vec![1.5, -3.0]));
    }

    #[test]
    fn what_is_cut_or_calls_something_else_is_refused() {
        let file = file();
        for length in 0..file.len() {
            assert!(read(&file[..length]).is_err(), "{length}");
        }
        let at = file.windows(11).position(|bytes| bytes == b"collections").unwrap();
        let mut other = file.clone();
        other[at..at + 11].copy_from_slice(b"subprocesss");
        assert!(read(&other).unwrap_err().contains("subprocesss"));
    }
}
