//! Writes whisper.cpp's ggml format (its `models/convert-pt-to-ggml.py` is the reference): sizes, mel filters, tokens,
//! then tensors; little-endian, 32 bits, shapes innermost first.

use std::{collections::HashMap, io::Write};

use serde::Deserialize;

use super::{
    ct2::{Model, Tensor},
    half::single_of,
    mel,
};

const MAGIC: i32 = 0x6767_6d6c;
/// Plain tokens of all Whisper models; the others follow from the number of all.
const TOKENS: usize = 50_257;

#[derive(Deserialize)]
struct Tokenizer {
    model: Vocabulary,
}

#[derive(Deserialize)]
struct Vocabulary {
    vocab: HashMap<String, usize>,
}

/// What each token stands for, from a `tokenizer.json`; nothing for those that are no text.
pub(super) fn tokens(tokenizer: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let tokenizer: Tokenizer =
        serde_json::from_slice(tokenizer).map_err(|error| format!("tokenizer.json can't be read: {error}"))?;
    let bytes = bytes_by_letter();
    let mut tokens = vec![Vec::new(); TOKENS];
    for (text, number) in tokenizer.model.vocab {
        if let Some(token) = tokens.get_mut(number) {
            *token = text.chars().map(|letter| bytes.get(&letter).copied()).collect::<Option<_>>().unwrap_or_default();
        }
    }
    Ok(tokens)
}

/// GPT-2's way to write any byte as a letter: those that can be seen stand for themselves, the others for letters from
/// 256 on, in their order.
fn bytes_by_letter() -> HashMap<char, u8> {
    let visible = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let hidden = (0..=255).filter(|byte| !visible(byte));
    let letters = (256..).filter_map(char::from_u32);
    (0..=255).filter(visible).map(|byte| (char::from(byte), byte)).chain(letters.zip(hidden)).collect()
}

/// Writes the whole file.
pub(super) fn write(model: &Model<'_>, tokens: &[Vec<u8>], out: &mut impl Write) -> Result<(), String> {
    let mut out = Out(out);
    let embedding = &model.floats("decoder/embeddings/weight")?.shape;
    let &[vocabulary, width] = embedding.as_slice() else { return Err("its embedding is no table".into()) };
    let rows = |name: &str| Ok::<_, String>(model.floats(name)?.shape.first().copied().unwrap_or(0));
    let (audio_rows, text_rows) =
        (rows("encoder/position_encodings/encodings")?, rows("decoder/position_encodings/encodings")?);
    let heads = |side: &str| model.number(&format!("{side}/num_heads")).map(|heads| heads as usize);
    let (encoder, decoder) = (model.layers("encoder"), model.layers("decoder"));
    out.int(MAGIC)?;
    let (audio, text) =
        ([audio_rows, width, heads("encoder")?, encoder], [text_rows, width, heads("decoder")?, decoder]);
    // The last one: weights are of half precision.
    for size in [&[vocabulary], &audio[..], &text[..], &[mel::BANDS, 1]].concat() {
        out.int(size as i32)?;
    }
    out.int(mel::BANDS as i32)?;
    out.int(mel::BINS as i32)?;
    for weight in mel::filters() {
        out.bytes(&weight.to_le_bytes())?;
    }
    out.int(tokens.len() as i32)?;
    for token in tokens {
        out.int(token.len() as i32)?;
        out.bytes(token)?;
    }
    frame(model, &mut out)?;
    for (side, layers) in [("encoder", encoder), ("decoder", decoder)] {
        for number in 0..layers {
            layer(model, side, number, &mut out)?;
        }
    }
    Ok(())
}

/// What stands around the layers.
fn frame<W: Write>(model: &Model<'_>, out: &mut Out<'_, W>) -> Result<(), String> {
    for number in [1, 2] {
        let conv = |part: &str| model.floats(&format!("encoder/conv{number}/{part}"));
        out.tensor(&format!("encoder.conv{number}.weight"), conv("weight")?, false)?;
        let mut bias = conv("bias")?.clone();
        // A column, so that it is added to each place.
        bias.shape.push(1);
        out.tensor(&format!("encoder.conv{number}.bias"), &bias, true)?;
    }
    for side in ["encoder", "decoder"] {
        let positions = model.floats(&format!("{side}/position_encodings/encodings"))?;
        out.tensor(&format!("{side}.positional_embedding"), positions, true)?;
    }
    out.tensor("decoder.token_embedding.weight", model.floats("decoder/embeddings/weight")?, false)?;
    norm(model, "encoder.ln_post", "encoder/layer_norm", out)?;
    norm(model, "decoder.ln", "decoder/layer_norm", out)
}

fn layer<W: Write>(model: &Model<'_>, side: &str, number: usize, out: &mut Out<'_, W>) -> Result<(), String> {
    let (to, from) = (format!("{side}.blocks.{number}"), format!("{side}/layer_{number}"));
    norm(model, &format!("{to}.attn_ln"), &format!("{from}/self_attention/layer_norm"), out)?;
    // Query, key and value are one matrix there. Whisper's keys have no bias; there it is zeros.
    let fused = |part: &str| model.floats(&format!("{from}/self_attention/linear_0/{part}"));
    let (weight, bias) = (fused("weight")?, fused("bias")?);
    for (at, name) in ["query", "key", "value"].into_iter().enumerate() {
        out.tensor(&format!("{to}.attn.{name}.weight"), &weight.split(at, 3)?, false)?;
    }
    out.tensor(&format!("{to}.attn.query.bias"), &bias.split(0, 3)?, true)?;
    are_zeros(&bias.split(1, 3)?)?;
    out.tensor(&format!("{to}.attn.value.bias"), &bias.split(2, 3)?, true)?;
    linear(model, &format!("{to}.attn.out"), &format!("{from}/self_attention/linear_1"), out)?;
    if side == "decoder" {
        norm(model, &format!("{to}.cross_attn_ln"), &format!("{from}/attention/layer_norm"), out)?;
        linear(model, &format!("{to}.cross_attn.query"), &format!("{from}/attention/linear_0"), out)?;
        let fused = |part: &str| model.floats(&format!("{from}/attention/linear_1/{part}"));
        let (weight, bias) = (fused("weight")?, fused("bias")?);
        out.tensor(&format!("{to}.cross_attn.key.weight"), &weight.split(0, 2)?, false)?;
        out.tensor(&format!("{to}.cross_attn.value.weight"), &weight.split(1, 2)?, false)?;
        are_zeros(&bias.split(0, 2)?)?;
        out.tensor(&format!("{to}.cross_attn.value.bias"), &bias.split(1, 2)?, true)?;
        linear(model, &format!("{to}.cross_attn.out"), &format!("{from}/attention/linear_2"), out)?;
    }
    norm(model, &format!("{to}.mlp_ln"), &format!("{from}/ffn/layer_norm"), out)?;
    linear(model, &format!("{to}.mlp.0"), &format!("{from}/ffn/linear_0"), out)?;
    linear(model, &format!("{to}.mlp.2"), &format!("{from}/ffn/linear_1"), out)
}

fn norm<W: Write>(model: &Model<'_>, to: &str, from: &str, out: &mut Out<'_, W>) -> Result<(), String> {
    out.tensor(&format!("{to}.weight"), model.floats(&format!("{from}/gamma"))?, true)?;
    out.tensor(&format!("{to}.bias"), model.floats(&format!("{from}/beta"))?, true)
}

fn linear<W: Write>(model: &Model<'_>, to: &str, from: &str, out: &mut Out<'_, W>) -> Result<(), String> {
    out.tensor(&format!("{to}.weight"), model.floats(&format!("{from}/weight"))?, false)?;
    out.tensor(&format!("{to}.bias"), model.floats(&format!("{from}/bias"))?, true)
}

fn are_zeros(tensor: &Tensor<'_>) -> Result<(), String> {
    // Minus zero is one too.
    let zero = tensor.bytes.chunks(2).all(|half| matches!(half, [0, 0 | 0x80]));
    if zero { Ok(()) } else { Err("its keys have a bias: it is no Whisper".into()) }
}

struct Out<'a, W>(&'a mut W);

impl<W: Write> Out<'_, W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.write_all(bytes).map_err(|error| error.to_string())
    }

    fn int(&mut self, number: i32) -> Result<(), String> {
        self.bytes(&number.to_le_bytes())
    }

    /// Its head, and its numbers in half or, `single`, in single precision.
    fn tensor(&mut self, name: &str, tensor: &Tensor<'_>, single: bool) -> Result<(), String> {
        self.int(tensor.shape.len() as i32)?;
        self.int(name.len() as i32)?;
        self.int((!single).into())?;
        for length in tensor.shape.iter().rev() {
            self.int(*length as i32)?;
        }
        self.bytes(name.as_bytes())?;
        if !single {
            return self.bytes(tensor.bytes);
        }
        let singles =
            tensor.bytes.chunks(2).flat_map(|half| single_of(u16::from_le_bytes([half[0], half[1]])).to_le_bytes());
        self.bytes(&singles.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_bytes_again() {
        let json = r#"{"model": {"vocab": {"Ġthe": 262, "é": 300, "åľº": 301, "<|en|>": 50300, "日": 302}}}"#;
        let tokens = tokens(json.as_bytes()).unwrap();
        assert_eq!(tokens.len(), TOKENS);
        assert_eq!(
            (&tokens[262][..], &tokens[300][..], &tokens[301][..]),
            (&b" the"[..], &[0xe9][..], "场".as_bytes())
        );
        assert!(tokens[302].is_empty(), "no byte is written so");
        assert!(super::tokens(b"{}").is_err());
    }
}
