//! Catalogues: an app's own products, which things of its streams are compared with.

use serde::{Deserialize, Serialize};

use crate::{CatalogId, Sha256, StreamId, timeline::Entry};

/// Longest SKU.
pub const SKU_LENGTH_MAX: usize = 64;

/// Whether a text can be a product's SKU: letters, digits, dots, dashes and underscores, and no dot at the beginning.
pub fn is_sku(text: &str) -> bool {
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b".-_".contains(&letter);
    (1..=SKU_LENGTH_MAX).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

/// `PUT /v1/catalogs/{id}/products/{sku}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutProduct {
    /// For people; 1 to 200 characters.
    pub name: String,
    /// Where it can be had: `http` or `https`, at most 4,096 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// `POST /v1/catalogs/{id}/products`: this, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// Its name in the app, see [`is_sku`].
    pub sku: String,
    /// As in [`PutProduct`].
    pub name: String,
    /// As in [`PutProduct`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A product, as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its catalogue.
    pub catalog: CatalogId,
    /// Its name in the app.
    pub sku: String,
    /// For people.
    pub name: String,
    /// Where it can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it was first put, Unix time.
    pub created_ms: u64,
    /// Its pictures, the oldest first. Without any it is never found.
    pub pictures: Vec<ProductPicture>,
}

/// A picture of a product, as the API tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductPicture {
    /// Of its bytes; its name in addresses.
    pub id: Sha256,
    /// `image/jpeg` or `image/png`.
    pub kind: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// As it was looked at, upright, in pixels.
    pub width: u32,
    /// The same.
    pub height: u32,
    /// The model that looked at it.
    pub model: String,
    /// Of its weights.
    pub version: String,
}

/// `POST /v1/streams/{id}/products/match`: what came of comparing a recording with its catalogue as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rematched {
    /// The recording.
    pub stream: StreamId,
    /// The catalogue that its profile names.
    pub catalog: CatalogId,
    /// Appearances that were compared.
    pub appearances: u64,
    /// Of these: those that have another product now, or another score.
    pub changes: u64,
    /// As they are now; a thousand at most.
    pub changed: Vec<Entry>,
}

/// A catalogue, as the API tells it. There is one while there is a product in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Its id, which the app chose.
    pub id: CatalogId,
    /// Products in it.
    pub products: u64,
    /// Pictures of them.
    pub pictures: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skus_are_safe_in_paths() {
        assert!(is_sku("MUG-0.3l_blue") && is_sku(&"x".repeat(64)));
        for bad in ["", "..", ".x", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(!is_sku(bad), "{bad:?}");
        }
    }
}
