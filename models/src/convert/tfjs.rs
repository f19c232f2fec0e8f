//! Reads a graph model of TensorFlow.js: `model.json` with its nodes, and the bytes of the weights that it lists. What
//! becomes of the nodes is in `ops`.

mod ops;

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::Value;

use super::{
    half::single_of,
    onnx::{Graph, Numbers, Tensor},
};

#[derive(Deserialize)]
struct Graphed {
    signature: Signature,
    #[serde(rename = "modelTopology")]
    topology: Topology,
    #[serde(rename = "weightsManifest")]
    weights: Vec<Group>,
}

#[derive(Deserialize)]
struct Signature {
    outputs: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Topology {
    node: Vec<Node>,
}

#[derive(Deserialize)]
struct Group {
    weights: Vec<Weight>,
}

#[derive(Deserialize)]
struct Weight {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    #[serde(default)]
    quantization: Option<Quantization>,
}

#[derive(Deserialize)]
struct Quantization {
    dtype: String,
}

/// One operation of the graph.
#[derive(Deserialize)]
struct Node {
    name: String,
    op: String,
    #[serde(default)]
    input: Vec<String>,
    #[serde(default)]
    attr: BTreeMap<String, Value>,
}

/// The ONNX file of a model whose weights lie in `weights`, with these outputs.
pub(super) fn convert(json: &[u8], weights: &[u8], outputs: &[String]) -> Result<Vec<u8>, String> {
    let model: Graphed = serde_json::from_slice(json)
        .map_err(|error| format!("its model.json is no graph of TensorFlow.js: {error}"))?;
    let constants = read(&model.weights, weights)?;
    let mut graph = Graph::default();
    for node in &model.topology.node {
        ops::add(&mut graph, node, &constants).map_err(|why| format!("{} ({}): {why}", node.name, node.op))?;
    }
    for output in outputs {
        let told =
            model.signature.outputs.get(output).ok_or_else(|| format!("it does not tell of an output {output}"))?;
        graph.output(output, lengths(&told["tensorShape"]));
    }
    graph.encode()
}

/// All weights, by their names.
fn read(groups: &[Group], mut bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let mut tensors = BTreeMap::new();
    for weight in groups.iter().flat_map(|group| &group.weights) {
        let stored = weight.quantization.as_ref().map_or(weight.dtype.as_str(), |stored| stored.dtype.as_str());
        let width = match stored {
            "float16" => 2,
            "float32" | "int32" => 4,
            other => return Err(format!("{} is stored as {other}: that is not read", weight.name)),
        };
        let count = weight.shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length));
        let length = count.and_then(|count| count.checked_mul(width));
        let (own, rest) =
            length.and_then(|length| bytes.split_at_checked(length)).ok_or("its weights end too early")?;
        bytes = rest;
        let words = || own.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
        let numbers = match (weight.dtype.as_str(), stored) {
            ("float32", "float32") => Numbers::F32(words().map(f32::from_le_bytes).collect()),
            ("float32", "float16") => {
                let halves = own.chunks_exact(2).map(|half| u16::from_le_bytes([half[0], half[1]]));
                Numbers::F32(halves.map(single_of).collect())
            }
            ("int32", "int32") => Numbers::I32(words().map(i32::from_le_bytes).collect()),
            _ => return Err(format!("{} is of {} stored as {stored}: that is not read", weight.name, weight.dtype)),
        };
        tensors.insert(weight.name.clone(), Tensor { shape: weight.shape.clone(), numbers });
    }
    if bytes.is_empty() { Ok(tensors) } else { Err(format!("{} bytes follow its weights", bytes.len())) }
}

impl Node {
    /// The name of the `at`-th input; `a:0` is `a`.
    fn input(&self, at: usize) -> Result<&str, String> {
        let name = self.input.get(at).ok_or_else(|| format!("it has no input {at}"))?;
        Ok(name.strip_suffix(":0").unwrap_or(name))
    }

    fn flag(&self, name: &str) -> bool {
        self.attr.get(name).and_then(|value| value["b"].as_bool()).unwrap_or(false)
    }

    /// Whole numbers; they are written as text.
    fn numbers(&self, name: &str) -> Vec<i64> {
        let list = self.attr.get(name).and_then(|value| value["list"]["i"].as_array());
        list.into_iter().flatten().filter_map(number).collect()
    }

    fn number(&self, name: &str) -> i64 {
        self.attr.get(name).and_then(|value| number(&value["i"])).unwrap_or(0)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.attr.get(name).and_then(|value| decoded(&value["s"]))
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let list = self.attr.get(name).and_then(|value| value["list"]["s"].as_array());
        list.into_iter().flatten().filter_map(decoded).collect()
    }

    fn kind(&self, name: &str) -> Option<&str> {
        self.attr.get(name).and_then(|value| value["type"].as_str())
    }

    fn shape(&self) -> Vec<Option<u64>> {
        self.attr.get("shape").map(|value| lengths(&value["shape"])).unwrap_or_default()
    }
}

/// Lengths of a shape; any where it says nothing of one.
fn lengths(shape: &Value) -> Vec<Option<u64>> {
    let length = |value: &Value| number(&value["size"]).and_then(|length| u64::try_from(length).ok());
    let all = shape["dim"].as_array().into_iter().flatten();
    all.map(|value| length(value).filter(|length| *length > 0)).collect()
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn decoded(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a constant to what goes in, and is bounded as Relu6 bounds it.
    const SMALL: &str = r#"{
        "signature": {"outputs": {"y": {"tensorShape": {"dim": [{"size": "-1"}, {"size": "2"}]}}}},
        "modelTopology": {"node": [
            {"name": "y", "op": "Relu6", "input": ["sum"]},
            {"name": "x", "op": "Placeholder", "attr": {"shape": {"shape": {"dim": [{"size": "-1"}, {"size": "2"}]}}}},
            {"name": "c", "op": "Const"},
            {"name": "sum", "op": "AddV2", "input": ["x", "c:0"]}]},
        "weightsManifest": [{"paths": ["w.bin"], "weights": [
            {"name": "c", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}}]}]}"#;

    fn converted(json: &str, weights: &[u8], output: &str) -> Result<Vec<u8>, String> {
        convert(json.as_bytes(), weights, &[output.to_owned()])
    }

    #[test]
    fn a_small_graph_is_written_the_same_each_time() {
        let weights = [0x00, 0x3c, 0x00, 0xc0];
        let file = converted(SMALL, &weights, "y").unwrap();
        let singles = [1.0_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat();
        assert!(file.windows(8).any(|bytes| bytes == singles));
        assert_eq!(file, converted(SMALL, &weights, "y").unwrap());
    }

    #[test]
    fn what_is_cut_unknown_or_not_there_is_told() {
        let weights = [0x00, 0x3c, 0x00, 0xc0];
        assert!(converted(SMALL, &weights[..3], "y").unwrap_err().contains("too early"));
        assert!(converted(SMALL, &[0; 6], "y").unwrap_err().contains("2 bytes follow"));
        assert!(converted(SMALL, &weights, "z").unwrap_err().contains("output z"));
        assert!(converted(&SMALL.replace("Relu6", "Erf"), &weights, "y").unwrap_err().contains("y (Erf)"));
        assert!(converted(&SMALL.replace("float16", "uint8"), &weights, "y").unwrap_err().contains("uint8"));
        assert!(converted("{}", &weights, "y").unwrap_err().contains("no graph"));
    }
}
