//! Whisper, through whisper.cpp: a piece of sound in, tokens with times out.

use std::path::Path;

use whisper_rs::{
    DtwMode, DtwModelPreset as Preset, DtwParameters, FullParams, SamplingStrategy, WhisperContext,
    WhisperContextParameters, WhisperState, WhisperTokenId, get_lang_id, get_lang_str, install_logging_hooks,
};

use crate::{Device, Error, ErrorKind, RATE, words::Token};

/// Tokens of the text before that are told: half of what Whisper's decoder has room for.
const CONTEXT_TOKENS_MAX: usize = 200;
/// Bytes of it that are looked at.
const CONTEXT_BYTES_MAX: usize = 2_000;
/// Whisper hears nothing in less than a second: silence is added.
const SAMPLES_MIN: usize = RATE * 11 / 10;
/// Samples of one place of the encoder's, which has [`PLACES_MAX`] for half a minute.
const PLACE: usize = RATE / 50;
const PLACES_MAX: usize = 1_500;
/// Places behind a piece that is heard quickly: with less silence Whisper says again what it said. In 272 s of short
/// sentences whisper-base differed from its own recorded words by 15.5 % with 150, by 4.3 % with 300, by 6.4 % with all, and
/// 300 took no more time than 150.
const PLACES_BEHIND: usize = 300;
/// Tokens of a piece: one less than what whisper.cpp takes for an end that went wrong, and has a policy of its own for.
const TOKENS_MAX: usize = 219;
/// Tokens of a piece that is heard quickly: so many, and so many for each second. Nobody speaks as fast; what goes on is one
/// word again and again, and would take seconds.
const TOKENS_MIN: usize = 8;
const TOKENS_A_SECOND: usize = 10;
/// How much more freely Whisper chooses its words where it said one thing again and again.
const TEMPERATURE_STEP: f32 = 0.4;
/// The mean logarithm of a token's probability is never below this: unsure words are no reason to hear a piece again.
const UNSURE: f32 = -100.0;

/// whisper.cpp's presets of the heads whose attention tells when a token is spoken.
const PRESETS: [(&str, Preset); 12] = [
    ("tiny.en", Preset::TinyEn),
    ("tiny", Preset::Tiny),
    ("base.en", Preset::BaseEn),
    ("base", Preset::Base),
    ("small.en", Preset::SmallEn),
    ("small", Preset::Small),
    ("medium.en", Preset::MediumEn),
    ("medium", Preset::Medium),
    ("large.v1", Preset::LargeV1),
    ("large.v2", Preset::LargeV2),
    ("large.v3", Preset::LargeV3),
    ("large.v3.turbo", Preset::LargeV3Turbo),
];

/// The model, loaded.
pub(crate) struct Whisper {
    context: WhisperContext,
    state: WhisperState,
}

/// What to do with a piece.
pub(crate) struct Task<'a> {
    /// `None`: find out.
    pub(crate) language: Option<&'a str>,
    pub(crate) translate: bool,
    /// The text before.
    pub(crate) context: &'a str,
    pub(crate) threads: u32,
    /// In a fraction of the time, and less surely: for what is heard once more.
    pub(crate) quick: bool,
}

/// What was said in a piece.
pub(crate) struct Said {
    pub(crate) language: &'static str,
    pub(crate) tokens: Vec<Token>,
    /// It says more than there is room for.
    pub(crate) is_cut: bool,
}

/// What whisper.cpp is told of the device. All of it is said, since what it takes otherwise depends on how it was built.
/// Attention in one go (flash) would leave no weights that tell words' times.
fn parameters(device: Device) -> WhisperContextParameters<'static> {
    let mut parameters = WhisperContextParameters::default();
    parameters.use_gpu(device == Device::Card).gpu_device(0).flash_attn(false);
    parameters
}

impl Whisper {
    pub(crate) fn open(model: &Path, dtw: Option<&str>, device: Device) -> Result<Self, Error> {
        if device == Device::Card && !cfg!(feature = "cuda") {
            let message = "this media child was built without CUDA for Whisper: on a machine with nvcc, deploy/up builds one \
                           with it";
            return Err(Error::new(ErrorKind::Card, message));
        }
        let wrong = |why: String| Error::new(ErrorKind::Model, format!("{} can't be loaded: {why}", model.display()));
        // It tells a lot, in some builds each word that it hears, which is nothing for a log.
        install_logging_hooks();
        let mut parameters = parameters(device);
        if let Some(name) = dtw {
            let (_, preset) = PRESETS
                .into_iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| wrong(format!("whisper.cpp has no heads named {name:?}; see its README, --dtw")))?;
            let mode = DtwMode::ModelPreset { model_preset: preset };
            parameters.dtw_parameters(DtwParameters { mode, ..DtwParameters::default() });
        }
        let context = WhisperContext::new_with_params(model, parameters).map_err(|error| wrong(error.to_string()))?;
        let state = context.create_state().map_err(|error| wrong(error.to_string()))?;
        Ok(Self { context, state })
    }

    /// Hears one piece, half a minute at most.
    pub(crate) fn hear(&mut self, samples: &[f32], task: &Task<'_>) -> Result<Said, Error> {
        let unsupported = |why: String| Error::new(ErrorKind::Unsupported, why);
        if let Some(language) = task.language
            && get_lang_id(language).is_none()
        {
            return Err(unsupported(format!("Whisper knows no language {language:?}")));
        }
        let multilingual = self.context.is_multilingual();
        if !multilingual && (task.translate || task.language.is_some_and(|language| language != "en")) {
            return Err(unsupported("this model understands English alone".into()));
        }
        let context = self.context_tokens(task.context);
        let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 2 });
        parameters.set_n_threads(task.threads.max(1) as i32);
        parameters.set_language(Some(if multilingual { task.language.unwrap_or("auto") } else { "en" }));
        parameters.set_translate(task.translate);
        parameters.set_no_context(true);
        parameters.set_tokens(&context);
        parameters.set_token_timestamps(true);
        // A piece is heard in one go, whatever Whisper says of where its sentences end. Otherwise whisper.cpp goes on from
        // there; and where that is less than 0.14 s, it aborts as soon as it places words by attention (1.8.3: the median
        // filter of 7 places has fewer).
        parameters.set_single_segment(true);
        parameters.set_suppress_blank(true);
        parameters.set_suppress_nst(true);
        parameters.set_print_special(false);
        parameters.set_print_progress(false);
        parameters.set_print_realtime(false);
        parameters.set_print_timestamps(false);
        let mut padded = samples.to_vec();
        padded.resize(samples.len().max(SAMPLES_MIN), 0.0);
        let mut room = TOKENS_MAX;
        if task.quick {
            // Most of the time goes into half a minute's places, whatever is in them.
            let places = (padded.len().div_ceil(PLACE) + PLACES_BEHIND).min(PLACES_MAX);
            parameters.set_audio_ctx(places as i32);
            room = room.min(TOKENS_MIN + TOKENS_A_SECOND * samples.len() / RATE);
            parameters.set_temperature_inc(TEMPERATURE_STEP);
            parameters.set_logprob_thold(UNSURE);
        }
        parameters.set_max_tokens(room as i32);
        let broken = |error| Error::new(ErrorKind::Broken, format!("Whisper fails: {error}"));
        self.state.full(parameters, &padded).map_err(broken)?;
        let language = get_lang_str(self.state.full_lang_id_from_state()).unwrap_or("en");
        let said: i32 = self.state.as_iter().map(|segment| segment.n_tokens()).sum();
        Ok(Said { language, tokens: self.tokens(samples.len())?, is_cut: said as usize > room })
    }

    /// The end of the text before, as tokens.
    fn context_tokens(&self, text: &str) -> Vec<WhisperTokenId> {
        let text = text.trim();
        let text = &text[text.ceil_char_boundary(text.len().saturating_sub(CONTEXT_BYTES_MAX))..];
        // Text that can't be written in tokens is none that helps.
        let tokens = self.context.tokenize(&format!(" {text}"), CONTEXT_BYTES_MAX + 1).unwrap_or_default();
        if text.is_empty() { Vec::new() } else { tokens[tokens.len().saturating_sub(CONTEXT_TOKENS_MAX)..].to_vec() }
    }

    /// Tokens of text, in order; none begins before the one before it ends.
    fn tokens(&self, samples: usize) -> Result<Vec<Token>, Error> {
        let end = (samples * 100 / RATE) as i64;
        let text_ends = self.context.token_eot();
        let mut tokens: Vec<Token> = Vec::new();
        for segment in self.state.as_iter() {
            for token in (0..segment.n_tokens()).filter_map(|at| segment.get_token(at)) {
                if token.token_id() >= text_ends {
                    continue;
                }
                let bytes =
                    token.to_bytes().map_err(|error| Error::new(ErrorKind::Broken, error.to_string()))?.to_vec();
                let data = token.token_data();
                let before = tokens.last().map_or(0, |last| last.end);
                // Where the model has heads for it, the alignment tells when a token is over; Whisper's own guess
                // otherwise.
                let times = if data.t_dtw >= 0 { (before, data.t_dtw) } else { (data.t0, data.t1) };
                let start = times.0.clamp(before, end.max(before));
                let end = times.1.clamp(start, end.max(start));
                tokens.push(Token { bytes, start, end, probability: token.token_probability() });
            }
        }
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_used_where_one_is_asked_for_alone() {
        let (cpu, card) = (parameters(Device::Cpu), parameters(Device::Card));
        assert!(!cpu.use_gpu && card.use_gpu, "in every build");
        assert!(card.gpu_device == 0 && !card.flash_attn && !cpu.flash_attn);
    }
}
