//! EfficientNet-Lite as ONNX, from `PyTorch`'s weights by the names that Luke Melas-Kyriazi's implementation gives them. Each
//! convolution has its normalisation worked into its weights. Two outputs: `logits` of the classes and `feat`, what the
//! picture looks like, before the last layer.

use std::collections::BTreeMap;

use super::onnx::{Attribute, Graph, Numbers, Tensor};

/// Stages of EfficientNet-B0 (Tan and Le, 2019, table 1): repeats, the first one's stride, expansion. The first and the
/// last one are repeated once in all Lite models; the others as often as the weights say.
const STAGES: [(bool, i64, usize); 7] =
    [(false, 1, 1), (true, 2, 6), (true, 2, 6), (true, 2, 6), (true, 1, 6), (true, 2, 6), (false, 1, 6)];

/// Repeats of the stages of B0.
const REPEATS: [f64; 7] = [1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 1.0];

/// More than any has.
const BLOCKS_MAX: usize = 1_000;

/// Of the normalisation.
const EPSILON: f64 = 1e-3;

/// Lite0 to Lite4: how much deeper than B0, and the sides of the pictures that they take.
const SIZES: [(f64, u64); 5] = [(1.0, 224), (1.1, 240), (1.2, 260), (1.4, 280), (1.8, 300)];

type Weights = BTreeMap<String, Tensor>;

/// The ONNX file of the weights of the one that takes pictures of `side` pixels.
pub(super) fn convert(weights: &Weights, side: u64) -> Result<Vec<u8>, String> {
    let known = SIZES.iter().find(|(_, known)| *known == side);
    let (depth, _) = known.ok_or_else(|| format!("no EfficientNet-Lite takes pictures of {side} pixels"))?;
    let blocks =
        (0..BLOCKS_MAX).take_while(|block| weights.contains_key(&format!("_blocks.{block}._bn1.weight"))).count();
    if repeats(*depth).iter().sum::<usize>() != blocks {
        return Err(format!("the EfficientNet-Lite for {side} pixels does not have {blocks} blocks"));
    }
    let mut graph = Graph::default();
    graph.input("input", vec![None, Some(3), Some(side), Some(side)]);
    graph.constant("zero", Tensor::floats(&[], vec![0.0]));
    graph.constant("six", Tensor::floats(&[], vec![6.0]));
    let mut made = convolution(&mut graph, weights, "input", ("_conv_stem", "_bn0"), 2, true)?;
    let mut block = 0;
    for (repeats, (_, stride, expansion)) in repeats(*depth).into_iter().zip(STAGES) {
        for repeat in 0..repeats {
            let name = |part: &str| format!("_blocks.{block}.{part}");
            let before = made.clone();
            if expansion > 1 {
                let parts = (name("_expand_conv"), name("_bn0"));
                made = convolution(&mut graph, weights, &made, (&parts.0, &parts.1), 1, true)?;
            }
            let (deep, flat) = ((name("_depthwise_conv"), name("_bn1")), (name("_project_conv"), name("_bn2")));
            let stride = if repeat == 0 { stride } else { 1 };
            made = convolution(&mut graph, weights, &made, (&deep.0, &deep.1), stride, true)?;
            made = convolution(&mut graph, weights, &made, (&flat.0, &flat.1), 1, false)?;
            if repeat > 0 {
                made = graph.node("Add", &[&before, &made], &[]);
            }
            block += 1;
        }
    }
    made = convolution(&mut graph, weights, &made, ("_conv_head", "_bn1"), 1, true)?;
    let pooled = graph.node("GlobalAveragePool", &[&made], &[]);
    graph.node_to("Flatten", &[&pooled], &["feat"], &[]);
    for part in ["_fc.weight", "_fc.bias"] {
        graph.constant(part, tensor(weights, part)?.clone());
    }
    graph.node_to("Gemm", &["feat", "_fc.weight", "_fc.bias"], &["logits"], &[("transB", Attribute::Int(1))]);
    let rows = |name: &str| {
        Ok::<_, String>(tensor(weights, name)?.shape.iter().map(|length| *length as u64).collect::<Vec<_>>())
    };
    let &[classes, features] = rows("_fc.weight")?.as_slice() else { return Err("its last layer is no table".into()) };
    graph.output("logits", vec![None, Some(classes)]);
    graph.output("feat", vec![None, Some(features)]);
    graph.encode()
}

fn repeats(depth: f64) -> Vec<usize> {
    let repeat = |(repeats, (scaled, ..)): (&f64, &(bool, i64, usize))| {
        if *scaled { (repeats * depth).ceil() as usize } else { *repeats as usize }
    };
    REPEATS.iter().zip(&STAGES).map(repeat).collect()
}

/// A convolution and its normalisation, then, `bounded`, what Lite models have for an activation.
fn convolution(
    graph: &mut Graph,
    weights: &Weights,
    input: &str,
    (filters, norm): (&str, &str),
    stride: i64,
    bounded: bool,
) -> Result<String, String> {
    let table = tensor(weights, &format!("{filters}.weight"))?;
    let &[count, channels, height, width] = table.shape.as_slice() else {
        return Err(format!("{filters} is no convolution"));
    };
    let part = |name: &str| {
        let name = format!("{norm}.{name}");
        let numbers = floats(tensor(weights, &name)?)?;
        if numbers.len() == count { Ok(numbers) } else { Err(format!("{name} does not fit {filters}")) }
    };
    let (scale, shift, mean, variance) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
    let scales: Vec<f64> =
        (0..count).map(|at| f64::from(scale[at]) / (f64::from(variance[at]) + EPSILON).sqrt()).collect();
    let shifts = (0..count).map(|at| (f64::from(shift[at]) - f64::from(mean[at]) * scales[at]) as f32).collect();
    let each = (channels * height * width).max(1);
    let scaled = floats(table)?.chunks(each).zip(&scales);
    let scaled =
        scaled.flat_map(|(filter, scale)| filter.iter().map(move |number| (f64::from(*number) * scale) as f32));
    let numbers = scaled.collect();
    let filters = graph.unnamed(Tensor::floats(&table.shape, numbers));
    let shifts = graph.unnamed(Tensor::floats(&[count], shifts));
    // A filter for each channel alone has one.
    let groups = if channels == 1 { count as i64 } else { 1 };
    let attributes = [
        ("kernel_shape", Attribute::Ints(vec![height as i64, width as i64])),
        ("strides", Attribute::Ints(vec![stride, stride])),
        ("group", Attribute::Int(groups)),
        ("auto_pad", Attribute::Text("SAME_UPPER")),
    ];
    let made = graph.node("Conv", &[input, &filters, &shifts], &attributes);
    Ok(if bounded { graph.node("Clip", &[&made, "zero", "six"], &[]) } else { made })
}

fn tensor<'a>(weights: &'a Weights, name: &str) -> Result<&'a Tensor, String> {
    weights.get(name).ok_or_else(|| format!("its weights have no {name}"))
}

fn floats(tensor: &Tensor) -> Result<&[f32], String> {
    match &tensor.numbers {
        Numbers::F32(numbers) => Ok(numbers),
        _ => Err("its weights are no numbers of single precision".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeper_ones_have_more_blocks() {
        let blocks: Vec<usize> = SIZES.iter().map(|(depth, _)| repeats(*depth).iter().sum()).collect();
        assert_eq!(blocks, [16, 21, 21, 24, 30]);
        assert!(convert(&Weights::new(), 260).unwrap_err().contains("0 blocks"));
        assert!(convert(&Weights::new(), 256).unwrap_err().contains("256 pixels"));
    }
}
