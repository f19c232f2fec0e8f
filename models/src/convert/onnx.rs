//! Writes ONNX files: a graph of named nodes and constants becomes protocol buffers (onnx.proto says the numbers of the
//! fields), the same bytes every time. Knows nothing of what a graph is for.

use std::collections::{BTreeMap, BTreeSet};

/// The version of the format, and of the operators' meaning.
const IR_VERSION: u64 = 8;
const OPSET: u64 = 18;

/// Numbers of an element's type.
pub(super) const FLOAT: i64 = 1;
pub(super) const INT32: i64 = 6;
pub(super) const INT64: i64 = 7;

/// What an attribute says of its own kind.
const KIND_INT: u64 = 2;
const KIND_TEXT: u64 = 3;
const KIND_INTS: u64 = 7;

/// How a number or a piece of bytes stands in a message.
const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// A graph that is being made.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    constants: BTreeMap<String, Tensor>,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    /// Counts what was named here.
    named: u32,
}

#[derive(Debug)]
struct Node {
    kind: &'static str,
    inputs: Vec<String>,
    outputs: Vec<String>,
    attributes: Vec<(&'static str, Attribute)>,
}

/// What a node is told beside its inputs.
#[derive(Debug, Clone)]
pub(super) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Text(&'static str),
}

/// A constant; its numbers row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Numbers,
}

/// A constant's numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

/// What goes in or comes out: numbers of single precision.
#[derive(Debug)]
struct Value {
    name: String,
    /// `None`: any length.
    shape: Vec<Option<u64>>,
}

impl Tensor {
    pub(super) fn floats(shape: &[usize], numbers: Vec<f32>) -> Self {
        Self { shape: shape.to_vec(), numbers: Numbers::F32(numbers) }
    }

    /// A list of whole numbers.
    pub(super) fn list(numbers: &[i64]) -> Self {
        Self { shape: vec![numbers.len()], numbers: Numbers::I64(numbers.to_vec()) }
    }
}

impl Graph {
    pub(super) fn input(&mut self, name: &str, shape: Vec<Option<u64>>) {
        self.inputs.push(Value { name: name.into(), shape });
    }

    pub(super) fn output(&mut self, name: &str, shape: Vec<Option<u64>>) {
        self.outputs.push(Value { name: name.into(), shape });
    }

    pub(super) fn constant(&mut self, name: &str, tensor: Tensor) {
        self.constants.insert(name.into(), tensor);
    }

    /// A constant without a name of its own.
    pub(super) fn unnamed(&mut self, tensor: Tensor) -> String {
        let name = self.name();
        self.constant(&name, tensor);
        name
    }

    /// A node with one output, which is named here.
    pub(super) fn node(
        &mut self,
        kind: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
    ) -> String {
        let name = self.name();
        self.node_to(kind, inputs, &[&name], attributes);
        name
    }

    /// A node with outputs of these names.
    pub(super) fn node_to(
        &mut self,
        kind: &'static str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&'static str, Attribute)],
    ) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.nodes.push(Node { kind, inputs: owned(inputs), outputs: owned(outputs), attributes: attributes.to_vec() });
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("#{}", self.named)
    }

    /// The file: what no output needs is left out, and each node stands behind those that it needs.
    pub(super) fn encode(mut self) -> Result<Vec<u8>, String> {
        let needed = self.needed();
        self.nodes.retain(|node| node.outputs.iter().any(|output| needed.contains(output)));
        self.constants.retain(|name, _| needed.contains(name));
        self.sort()?;
        let mut graph = Vec::new();
        for node in &self.nodes {
            message(&mut graph, 1, &node.encode());
        }
        message(&mut graph, 2, b"millrace");
        for (name, tensor) in &self.constants {
            message(&mut graph, 5, &tensor.encode(name));
        }
        for input in &self.inputs {
            message(&mut graph, 11, &input.encode());
        }
        for output in &self.outputs {
            message(&mut graph, 12, &output.encode());
        }
        let mut operators = Vec::new();
        message(&mut operators, 1, b"");
        number(&mut operators, 2, OPSET);
        let mut model = Vec::with_capacity(graph.len() + 64);
        number(&mut model, 1, IR_VERSION);
        message(&mut model, 2, b"millrace");
        message(&mut model, 7, &graph);
        message(&mut model, 8, &operators);
        Ok(model)
    }

    fn needed(&self) -> BTreeSet<String> {
        let makers: BTreeMap<&str, &Node> =
            self.nodes.iter().flat_map(|node| node.outputs.iter().map(move |output| (output.as_str(), node))).collect();
        let mut needed = BTreeSet::new();
        let mut open: Vec<&str> = self.outputs.iter().map(|output| output.name.as_str()).collect();
        while let Some(name) = open.pop() {
            if needed.insert(name.to_owned()) {
                open.extend(makers.get(name).into_iter().flat_map(|node| node.inputs.iter().map(String::as_str)));
            }
        }
        needed
    }

    fn sort(&mut self) -> Result<(), String> {
        let mut known: BTreeSet<String> = self.constants.keys().cloned().collect();
        known.extend(self.inputs.iter().map(|input| input.name.clone()));
        // What an operator may do without.
        known.insert(String::new());
        let (mut open, mut sorted) = (std::mem::take(&mut self.nodes), Vec::new());
        while !open.is_empty() {
            let before = open.len();
            for node in std::mem::take(&mut open) {
                if node.inputs.iter().all(|input| known.contains(input)) {
                    known.extend(node.outputs.iter().cloned());
                    sorted.push(node);
                } else {
                    open.push(node);
                }
            }
            if open.len() == before {
                let missing = open[0].inputs.iter().find(|input| !known.contains(*input));
                return Err(format!("nothing makes {}", missing.map_or("it", String::as_str)));
            }
        }
        if let Some(output) = self.outputs.iter().find(|output| !known.contains(&output.name)) {
            return Err(format!("nothing makes the output {}", output.name));
        }
        self.nodes = sorted;
        Ok(())
    }
}

impl Node {
    fn encode(&self) -> Vec<u8> {
        let mut node = Vec::new();
        for input in &self.inputs {
            message(&mut node, 1, input.as_bytes());
        }
        for output in &self.outputs {
            message(&mut node, 2, output.as_bytes());
        }
        message(&mut node, 4, self.kind.as_bytes());
        for (name, attribute) in &self.attributes {
            message(&mut node, 5, &attribute.encode(name));
        }
        node
    }
}

impl Attribute {
    fn encode(&self, name: &str) -> Vec<u8> {
        let mut attribute = Vec::new();
        message(&mut attribute, 1, name.as_bytes());
        let kind = match self {
            Self::Int(value) => {
                number(&mut attribute, 3, *value as u64);
                KIND_INT
            }
            Self::Ints(values) => {
                for value in values {
                    number(&mut attribute, 8, *value as u64);
                }
                KIND_INTS
            }
            Self::Text(text) => {
                message(&mut attribute, 4, text.as_bytes());
                KIND_TEXT
            }
        };
        number(&mut attribute, 20, kind);
        attribute
    }
}

impl Tensor {
    fn encode(&self, name: &str) -> Vec<u8> {
        let mut tensor = Vec::new();
        for length in &self.shape {
            number(&mut tensor, 1, *length as u64);
        }
        let (kind, bytes): (i64, Vec<u8>) = match &self.numbers {
            Numbers::F32(all) => (FLOAT, all.iter().flat_map(|number| number.to_le_bytes()).collect()),
            Numbers::I32(all) => (INT32, all.iter().flat_map(|number| number.to_le_bytes()).collect()),
            Numbers::I64(all) => (INT64, all.iter().flat_map(|number| number.to_le_bytes()).collect()),
        };
        number(&mut tensor, 2, kind as u64);
        message(&mut tensor, 8, name.as_bytes());
        message(&mut tensor, 9, &bytes);
        tensor
    }
}

impl Value {
    fn encode(&self) -> Vec<u8> {
        let (mut tensor, mut shape) = (Vec::new(), Vec::new());
        for length in &self.shape {
            let mut told = Vec::new();
            match length {
                Some(length) => number(&mut told, 1, *length),
                None => message(&mut told, 2, b"n"),
            }
            message(&mut shape, 1, &told);
        }
        number(&mut tensor, 1, FLOAT as u64);
        message(&mut tensor, 2, &shape);
        let (mut kind, mut value) = (Vec::new(), Vec::new());
        message(&mut kind, 1, &tensor);
        message(&mut value, 1, self.name.as_bytes());
        message(&mut value, 2, &kind);
        value
    }
}

fn message(to: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(to, field << 3 | BYTES);
    varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

fn number(to: &mut Vec<u8>, field: u64, value: u64) {
    varint(to, field << 3 | VARINT);
    varint(to, value);
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_many_bytes_as_they_need() {
        let mut bytes = Vec::new();
        for value in [0, 127, 300, u64::MAX] {
            varint(&mut bytes, value);
        }
        assert_eq!(bytes[..4], [0, 127, 0xac, 2]);
        assert_eq!((bytes.len(), bytes[13]), (14, 1));
    }

    #[test]
    fn nodes_are_sorted_and_what_nobody_needs_is_left_out() {
        let graph = |swap: bool| {
            let mut graph = Graph::default();
            graph.input("x", vec![None, Some(3)]);
            graph.constant("c", Tensor::floats(&[3], vec![1.0; 3]));
            graph.constant("unused", Tensor::list(&[7]));
            let add = |graph: &mut Graph| graph.node_to("Add", &["x", "c"], &["sum"], &[]);
            let relu = |graph: &mut Graph| graph.node_to("Relu", &["sum"], &["y"], &[]);
            if swap {
                relu(&mut graph);
                add(&mut graph);
            } else {
                add(&mut graph);
                relu(&mut graph);
            }
            graph.node("Neg", &["x"], &[]);
            graph
        };
        let encoded = |swap| {
            let mut graph = graph(swap);
            graph.output("y", vec![None, Some(3)]);
            graph.encode().unwrap()
        };
        assert_eq!(encoded(false), encoded(true));
        let text = String::from_utf8_lossy(&encoded(false)).into_owned();
        assert!(text.contains("Relu") && !text.contains("Neg") && !text.contains("unused"));
        let mut without = graph(false);
        without.output("z", Vec::new());
        assert!(without.encode().unwrap_err().contains("output z"));
    }
}
