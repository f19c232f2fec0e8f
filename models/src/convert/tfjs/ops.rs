//! TensorFlow's operations as ONNX's. TensorFlow has a picture's channels last and ONNX has them first: so pictures are
//! turned before a convolution and back behind it, and the runtime takes out what turns back and forth.

use std::collections::BTreeMap;

use super::{
    super::onnx::{Attribute, FLOAT, Graph, INT32, Numbers, Tensor},
    Node,
};

type Constants = BTreeMap<String, Tensor>;

const CHANNELS_FIRST: [i64; 4] = [0, 3, 1, 2];
const CHANNELS_LAST: [i64; 4] = [0, 2, 3, 1];

/// Adds what a node does. Those that nothing needs are left out later.
pub(super) fn add(graph: &mut Graph, node: &Node, constants: &Constants) -> Result<(), String> {
    let name = node.name.as_str();
    match node.op.as_str() {
        "Const" => graph.constant(name, constant(constants, name)?.clone()),
        "Placeholder" => graph.input(name, node.shape()),
        "_FusedConv2D" | "Conv2D" => convolution(graph, node, constants, false)?,
        "DepthwiseConv2dNative" | "FusedDepthwiseConv2dNative" => convolution(graph, node, constants, true)?,
        "MaxPool" => pool(graph, node)?,
        "ResizeBilinear" => resize(graph, node, constants)?,
        "StridedSlice" => slice(graph, node, constants)?,
        "TopKV2" => top(graph, node, constants)?,
        "Relu6" => bounded(graph, node.input(0)?, name),
        "Mean" => {
            let axes = list(graph, constants, node.input(1)?)?;
            let keep = Attribute::Int(node.flag("keep_dims").into());
            graph.node_to("ReduceMean", &[node.input(0)?, &axes], &[name], &[("keepdims", keep)]);
        }
        "ConcatV2" => {
            let last = node.input.len().checked_sub(1).ok_or("it has no inputs")?;
            let parts = (0..last).map(|at| node.input(at)).collect::<Result<Vec<_>, _>>()?;
            let axis = single(constants, node.input(last)?)?;
            graph.node_to("Concat", &parts, &[name], &[("axis", Attribute::Int(axis))]);
        }
        "Reshape" => {
            let shape = list(graph, constants, node.input(1)?)?;
            graph.node_to("Reshape", &[node.input(0)?, &shape], &[name], &[]);
        }
        "ExpandDims" => {
            let axis = list(graph, constants, node.input(1)?)?;
            graph.node_to("Unsqueeze", &[node.input(0)?, &axis], &[name], &[]);
        }
        "GatherV2" => {
            let axis = Attribute::Int(single(constants, node.input(2)?)?);
            graph.node_to("Gather", &[node.input(0)?, node.input(1)?], &[name], &[("axis", axis)]);
        }
        "Cast" => {
            let to = match node.kind("DstT") {
                Some("DT_FLOAT") => FLOAT,
                Some("DT_INT32") => INT32,
                other => return Err(format!("nothing is made {other:?}")),
            };
            graph.node_to("Cast", &[node.input(0)?], &[name], &[("to", Attribute::Int(to))]);
        }
        other => {
            let (kind, inputs) = plain(other).ok_or("this operation is not converted")?;
            let inputs = (0..inputs).map(|at| node.input(at)).collect::<Result<Vec<_>, _>>()?;
            graph.node_to(kind, &inputs, &[name], &[]);
        }
    }
    Ok(())
}

/// Operations that are the same in both, with the number of their inputs.
fn plain(op: &str) -> Option<(&'static str, usize)> {
    Some(match op {
        "Add" | "AddV2" | "BiasAdd" => ("Add", 2),
        "Sub" => ("Sub", 2),
        "Mul" => ("Mul", 2),
        // Of places in a list, which are never negative.
        "FloorDiv" => ("Div", 2),
        "FloorMod" => ("Mod", 2),
        "Equal" => ("Equal", 2),
        "Relu" => ("Relu", 1),
        "Sigmoid" => ("Sigmoid", 1),
        "Identity" => ("Identity", 1),
        _ => return None,
    })
}

fn convolution(graph: &mut Graph, node: &Node, constants: &Constants, depthwise: bool) -> Result<(), String> {
    let weights = constant(constants, node.input(1)?)?;
    let (&[height, width, channels, per], Numbers::F32(numbers)) = (weights.shape.as_slice(), &weights.numbers) else {
        return Err("its weights are no filters".into());
    };
    // TensorFlow: row, column, channel, filter. ONNX: filter, channel, row, column; in depthwise ones a filter has one
    // channel, and those of a channel stand together.
    let (filters, inner) = if depthwise { (channels * per, 1) } else { (per, channels) };
    let mut turned = Vec::with_capacity(numbers.len());
    for filter in 0..filters {
        for channel in 0..inner {
            let (from, at) = if depthwise { (filter / per, filter % per) } else { (channel, filter) };
            let place = |point: usize| (point * channels + from) * per + at;
            turned.extend((0..height * width).map(|point| numbers[place(point)]));
        }
    }
    let weights = graph.unnamed(Tensor::floats(&[filters, inner, height, width], turned));
    let fused = node.texts("fused_ops");
    let turned = turn(graph, node.input(0)?, &CHANNELS_FIRST);
    let mut inputs = vec![turned.as_str(), weights.as_str()];
    if fused.first().is_some_and(|first| first == "BiasAdd") {
        inputs.push(node.input(2)?);
    }
    let attributes = [
        ("kernel_shape", Attribute::Ints(vec![height as i64, width as i64])),
        ("strides", inner_two(&node.numbers("strides"))?),
        ("dilations", inner_two(&node.numbers("dilations"))?),
        ("group", Attribute::Int(if depthwise { channels as i64 } else { 1 })),
        ("auto_pad", padding(node)?),
    ];
    let mut made = graph.node("Conv", &inputs, &attributes);
    for after in fused.iter().filter(|fused| *fused != "BiasAdd") {
        made = match after.as_str() {
            "Relu" => graph.node("Relu", &[&made], &[]),
            "Relu6" => {
                let bounded_name = format!("{}#6", node.name);
                bounded(graph, &made, &bounded_name);
                bounded_name
            }
            other => return Err(format!("{other} in a convolution is not converted")),
        };
    }
    turn_to(graph, &made, &CHANNELS_LAST, &node.name);
    Ok(())
}

fn pool(graph: &mut Graph, node: &Node) -> Result<(), String> {
    let turned = turn(graph, node.input(0)?, &CHANNELS_FIRST);
    let attributes = [
        ("kernel_shape", inner_two(&node.numbers("ksize"))?),
        ("strides", inner_two(&node.numbers("strides"))?),
        ("auto_pad", padding(node)?),
    ];
    let pooled = graph.node("MaxPool", &[&turned], &attributes);
    turn_to(graph, &pooled, &CHANNELS_LAST, &node.name);
    Ok(())
}

fn resize(graph: &mut Graph, node: &Node, constants: &Constants) -> Result<(), String> {
    let size = list(graph, constants, node.input(1)?)?;
    let places = match (node.flag("align_corners"), node.flag("half_pixel_centers")) {
        (true, _) => "align_corners",
        (false, true) => "half_pixel",
        (false, false) => "asymmetric",
    };
    let turned = turn(graph, node.input(0)?, &CHANNELS_FIRST);
    let attributes = [
        ("mode", Attribute::Text("linear")),
        ("coordinate_transformation_mode", Attribute::Text(places)),
        ("axes", Attribute::Ints(vec![2, 3])),
    ];
    let resized = graph.node("Resize", &[&turned, "", "", &size], &attributes);
    turn_to(graph, &resized, &CHANNELS_LAST, &node.name);
    Ok(())
}

fn slice(graph: &mut Graph, node: &Node, constants: &Constants) -> Result<(), String> {
    if ["shrink_axis_mask", "new_axis_mask", "ellipsis_mask"].iter().any(|mask| node.number(mask) != 0) {
        return Err("a slice that changes the number of axes is not converted".into());
    }
    let read = |at| constant(constants, node.input(at)?).and_then(whole);
    let (mut begin, mut end, steps) = (read(1)?, read(2)?, read(3)?);
    for axis in 0..begin.len().min(end.len()).min(63) {
        if node.number("begin_mask") >> axis & 1 == 1 {
            begin[axis] = 0;
        }
        if node.number("end_mask") >> axis & 1 == 1 {
            end[axis] = i64::MAX;
        }
    }
    let axes: Vec<i64> = (0..begin.len() as i64).collect();
    let [begin, end, axes, steps] = [begin, end, axes, steps].map(|numbers| graph.unnamed(Tensor::list(&numbers)));
    graph.node_to("Slice", &[node.input(0)?, &begin, &end, &axes, &steps], &[&node.name], &[]);
    Ok(())
}

fn top(graph: &mut Graph, node: &Node, constants: &Constants) -> Result<(), String> {
    let count = list(graph, constants, node.input(1)?)?;
    let places = format!("{}#places", node.name);
    graph.node_to("TopK", &[node.input(0)?, &count], &[&node.name, &places], &[("axis", Attribute::Int(-1))]);
    // TensorFlow's are of 32 bits, and so is what is done with them.
    graph.node_to("Cast", &[&places], &[&format!("{}:1", node.name)], &[("to", Attribute::Int(INT32))]);
    Ok(())
}

/// Between 0 and 6.
fn bounded(graph: &mut Graph, input: &str, output: &str) {
    let [low, high] = [0.0, 6.0].map(|bound| graph.unnamed(Tensor::floats(&[], vec![bound])));
    graph.node_to("Clip", &[input, &low, &high], &[output], &[]);
}

fn turn(graph: &mut Graph, input: &str, order: &[i64; 4]) -> String {
    graph.node("Transpose", &[input], &[("perm", Attribute::Ints(order.to_vec()))])
}

fn turn_to(graph: &mut Graph, input: &str, order: &[i64; 4], output: &str) {
    graph.node_to("Transpose", &[input], &[output], &[("perm", Attribute::Ints(order.to_vec()))]);
}

fn padding(node: &Node) -> Result<Attribute, String> {
    match node.text("padding").as_deref() {
        Some("SAME") => Ok(Attribute::Text("SAME_UPPER")),
        Some("VALID") => Ok(Attribute::Text("VALID")),
        other => Err(format!("padding {other:?} is not converted")),
    }
}

/// Rows and columns of numbers for all four axes.
fn inner_two(numbers: &[i64]) -> Result<Attribute, String> {
    match numbers {
        [1, rows, columns, 1] => Ok(Attribute::Ints(vec![*rows, *columns])),
        [] => Ok(Attribute::Ints(vec![1, 1])),
        other => Err(format!("{other:?} is not for pictures one by one")),
    }
}

fn constant<'a>(constants: &'a Constants, name: &str) -> Result<&'a Tensor, String> {
    constants.get(name).ok_or_else(|| format!("{name} is no constant"))
}

/// A constant's numbers as ONNX wants them where they are places and lengths: a list, of 64 bits.
fn list(graph: &mut Graph, constants: &Constants, name: &str) -> Result<String, String> {
    let numbers = whole(constant(constants, name)?)?;
    Ok(graph.unnamed(Tensor::list(&numbers)))
}

fn single(constants: &Constants, name: &str) -> Result<i64, String> {
    match whole(constant(constants, name)?)?[..] {
        [number] => Ok(number),
        _ => Err(format!("{name} is no single number")),
    }
}

fn whole(tensor: &Tensor) -> Result<Vec<i64>, String> {
    match &tensor.numbers {
        Numbers::I32(numbers) => Ok(numbers.iter().map(|number| i64::from(*number)).collect()),
        Numbers::I64(numbers) => Ok(numbers.clone()),
        Numbers::F32(_) => Err("whole numbers are wanted".into()),
    }
}
