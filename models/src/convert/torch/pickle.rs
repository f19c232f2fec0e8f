//! The few instructions of pickles that a file of tensors takes (Python's `pickletools` describes all). Nothing is called:
//! the three names that may be are told apart here.

use std::collections::BTreeMap;

use super::{Kind, View};

/// Values on the stack at most; the largest files have some thousands.
const STACK_MAX: usize = 1 << 20;

/// What a pickle makes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    /// A number that is longer, little-endian.
    Bytes(Vec<u8>),
    Text(String),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Table(Vec<(Value, Value)>),
    Name(Name),
    Storage(String, Kind),
    Tensor(View),
}

/// What may be called or named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Table,
    Tensor,
    Storage(Kind),
}

struct Machine<'a, 'b> {
    bytes: &'b mut &'a [u8],
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value>,
}

/// Runs one pickle, and leaves what stands behind it.
pub(super) fn read(bytes: &mut &[u8]) -> Result<Value, String> {
    let mut machine = Machine { bytes, stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new() };
    loop {
        let code = machine.byte()?;
        if code == b'.' {
            return machine.pop();
        }
        machine.step(code)?;
        if machine.stack.len() > STACK_MAX || machine.memo.len() > STACK_MAX {
            return Err("a pickle is too large".into());
        }
    }
}

impl Machine<'_, '_> {
    fn step(&mut self, code: u8) -> Result<(), String> {
        let value = match code {
            // Which version of pickles it is.
            0x80 => return self.byte().map(drop),
            b'(' => {
                self.marks.push(self.stack.len());
                return Ok(());
            }
            b'q' | b'r' => {
                let place = self.place(code == b'q')?;
                let top = self.stack.last().ok_or("a pickle has nothing to keep")?;
                self.memo.insert(place, top.clone());
                return Ok(());
            }
            b'h' | b'j' => {
                let place = self.place(code == b'h')?;
                self.memo.get(&place).ok_or("a pickle names what it did not keep")?.clone()
            }
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool,
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a => {
                let length = self.byte()?;
                Value::Bytes(self.take(length.into())?.to_vec())
            }
            b'X' => {
                let length = u32::from_le_bytes(self.array()?);
                let text = self.take(length as usize)?;
                Value::Text(std::str::from_utf8(text).map_err(|_| "a name is no text")?.to_owned())
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Value::Name(Name::of(&module, &name)?)
            }
            b')' => Value::Tuple(Vec::new()),
            b']' => Value::List(Vec::new()),
            b'}' => Value::Table(Vec::new()),
            b't' => Value::Tuple(self.marked()?),
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(code - 0x84)).ok_or("a pickle's stack is empty")?;
                Value::Tuple(self.stack.split_off(from))
            }
            b'e' => {
                let more = self.marked()?;
                let Value::List(mut list) = self.pop()? else { return Err("a pickle adds to no list".into()) };
                list.extend(more);
                Value::List(list)
            }
            b's' | b'u' => {
                let more = if code == b's' {
                    let value = self.pop()?;
                    vec![self.pop()?, value]
                } else {
                    self.marked()?
                };
                self.entered(more)?
            }
            b'R' => {
                let (arguments, called) = (self.pop()?, self.pop()?);
                call(&called, arguments)?
            }
            // Attributes of a table, which say nothing about its tensors.
            b'b' => return self.pop().map(drop),
            b'Q' => {
                let named = self.pop()?;
                storage(named)?
            }
            other => return Err(format!("a pickle has the instruction {other:#04x}, which no file of tensors takes")),
        };
        self.stack.push(value);
        Ok(())
    }

    /// The table below, with more entries.
    fn entered(&mut self, more: Vec<Value>) -> Result<Value, String> {
        let Value::Table(mut table) = self.pop()? else { return Err("a pickle adds to no table".into()) };
        let mut more = more.into_iter();
        while let (Some(key), Some(value)) = (more.next(), more.next()) {
            table.push((key, value));
        }
        Ok(Value::Table(table))
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "a pickle's stack is empty".into())
    }

    /// All from the last mark on.
    fn marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or("a pickle has no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn place(&mut self, short: bool) -> Result<u32, String> {
        if short { self.byte().map(u32::from) } else { self.array().map(u32::from_le_bytes) }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or("it ends too early")?;
        *self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("so many were taken"))
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n').ok_or("it ends too early")?;
        let line = String::from_utf8_lossy(&self.take(end + 1)?[..end]).into_owned();
        Ok(line)
    }
}

impl Name {
    fn of(module: &str, name: &str) -> Result<Self, String> {
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Self::Table),
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Self::Tensor),
            ("torch", "FloatStorage") => Ok(Self::Storage(Kind::F32)),
            ("torch", "LongStorage") => Ok(Self::Storage(Kind::I64)),
            _ => Err(format!("a pickle names {module}.{name}, which is no part of a table of tensors")),
        }
    }
}

fn call(called: &Value, arguments: Value) -> Result<Value, String> {
    let Value::Tuple(arguments) = arguments else { return Err("a pickle calls without arguments".into()) };
    match (called, &arguments[..]) {
        (Value::Name(Name::Table), []) => Ok(Value::Table(Vec::new())),
        (
            Value::Name(Name::Tensor),
            [Value::Storage(key, kind), Value::Int(offset), Value::Tuple(shape), Value::Tuple(strides), ..],
        ) if shape.len() == strides.len() => {
            let offset = usize::try_from(*offset).map_err(|_| "a tensor begins before its numbers")?;
            let (shape, strides) = (lengths(shape)?, lengths(strides)?);
            Ok(Value::Tensor(View { key: key.clone(), kind: *kind, offset, shape, strides }))
        }
        _ => Err("a pickle calls what it may not".into()),
    }
}

/// What a file calls a storage by: ("storage", kind, key, device, count, ...).
fn storage(named: Value) -> Result<Value, String> {
    match named {
        Value::Tuple(parts) => match &parts[..] {
            [Value::Text(storage), Value::Name(Name::Storage(kind)), Value::Text(key), ..] if storage == "storage" => {
                Ok(Value::Storage(key.clone(), *kind))
            }
            _ => Err("a storage has no name".into()),
        },
        _ => Err("a storage has no name".into()),
    }
}

fn lengths(values: &[Value]) -> Result<Vec<usize>, String> {
    let length = |value: &Value| match value {
        Value::Int(length) => usize::try_from(*length).map_err(|_| "a length is negative".to_owned()),
        _ => Err("a length is no number".into()),
    };
    values.iter().map(length).collect()
}
