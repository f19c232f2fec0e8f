//! What pictures show, as the media child sees it and results are made of it.

use serde::{Deserialize, Serialize};

/// What was seen in a stretch of video. Times are milliseconds of the stream's timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sights {
    /// Where it begins.
    pub start_ms: i64,
    /// Where it ends.
    pub end_ms: i64,
    /// One for each picture that was looked at, in order.
    pub pictures: Vec<Sight>,
    /// Pictures that were decoded for that.
    pub decoded: u32,
}

/// What was seen in a picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// When it is shown.
    pub at_ms: i64,
    /// What not everyone is to see; empty where nobody asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Category>,
    /// Things, the surest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub things: Vec<Thing>,
}

/// How much a picture is of a kind that not everyone is to see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// `pornography`
    pub name: String,
    /// From 0 to 1.
    pub score: f32,
}

/// A thing in a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thing {
    /// What the detector calls it.
    pub label: String,
    /// How sure it is, 0 to 1.
    pub score: f32,
    /// Where it is.
    pub place: Place,
    /// What a classifier calls it that looked closely; only the surest things of a picture are looked at so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finer: Option<Named>,
    /// What it looks like: a direction, its largest number 127 or -127. Things that look alike point the same way. Its
    /// bytes in base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "looks")]
    pub looks: Vec<i8>,
    /// What told what it looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedder: Option<Embedder>,
}

/// A model that tells what something looks like. Only looks that one of them told can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embedder {
    /// Its name in the catalogue of models.
    pub model: String,
    /// Of its weights.
    pub version: String,
}

/// Looks on the wire: a number each would be four times as long.
pub mod looks {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes them.
    pub fn serialize<S: Serializer>(looks: &[i8], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = looks.iter().map(|number| number.cast_unsigned()).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads them.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i8>, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Ok(bytes.into_iter().map(u8::cast_signed).collect())
    }
}

/// What a thing is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub label: String,
    /// Its probability.
    pub score: f32,
    /// The model that calls it so.
    pub model: String,
    /// Of its weights.
    pub version: String,
}

/// A place in a picture as it is shown, in parts of its width and height.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// From the left.
    pub x: f32,
    /// From the top.
    pub y: f32,
    /// How wide.
    pub width: f32,
    /// How high.
    pub height: f32,
}

/// Which product of an app's catalogue a thing is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// Its name in the app; absent where it is like none of them, or like several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// Its name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How likely the likest product is the right one, 0 to 1.
    pub score: f32,
}
