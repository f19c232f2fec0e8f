//! The store's contract for catalogues: apps' products, and what pictures of them look like.

use async_trait::async_trait;
use millrace_proto::{
    CatalogId, Sha256,
    api::{Catalog, Product, ProductPicture},
    vision::Embedder,
};

use super::{Result, marks::Mark};

/// What became of a product that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is durable now.
    New,
    /// It was there; name and URL are these now, its pictures are as they were.
    Changed,
    /// The catalogue has as many as allowed; nothing was written.
    Full,
}

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is durable now.
    Done,
    /// The product has it; nothing was written.
    Known,
    /// The product, or the catalogue, has as many as allowed; nothing was written.
    Full,
    /// The product is gone.
    Gone,
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PicturesMax {
    /// Of one product.
    pub product: u64,
    /// Of all products of a catalogue.
    pub catalog: u64,
}

/// What a picture of a product looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The product's name in the app.
    pub sku: String,
    /// Its name for people.
    pub name: String,
    /// Where it can be had.
    pub url: Option<String>,
    /// See [`millrace_proto::vision::Thing::looks`].
    pub looks: Vec<i8>,
    /// What told what it looks like.
    pub embedder: Embedder,
}

/// A picture of a product, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The product's catalogue.
    pub catalog: CatalogId,
    /// The product's name in the app.
    pub sku: String,
    /// What is told of it.
    pub picture: ProductPicture,
}

/// Catalogues. Part of the [`super::Store`].
#[async_trait]
pub trait Catalogs {
    /// All catalogues that have a product, by id.
    async fn catalogs(&self) -> Result<Vec<Catalog>>;
    /// One of them.
    async fn catalog(&self, id: &CatalogId) -> Result<Option<Catalog>>;
    /// Removes a catalogue with all its products. False if there was none.
    async fn delete_catalog(&self, id: &CatalogId) -> Result<bool>;
    /// Writes a product, without its pictures, unless its catalogue has `products_max` others.
    async fn put_product(&self, product: &Product, products_max: u64) -> Result<Put>;
    /// One product.
    async fn product(&self, catalog: &CatalogId, sku: &str) -> Result<Option<Product>>;
    /// A catalogue's products by SKU, behind `after`, at most `limit`.
    async fn products(&self, catalog: &CatalogId, after: &str, limit: u32) -> Result<Vec<Product>>;
    /// Removes a product with its pictures. False if it was gone.
    async fn delete_product(&self, catalog: &CatalogId, sku: &str) -> Result<bool>;
    /// Writes a picture of a product, and what it looks like.
    async fn add_picture(&self, of: Of<'_>, picture: &ProductPicture, looks: &[i8], most: PicturesMax)
    -> Result<Added>;
    /// Removes a picture. False if it was gone.
    async fn delete_picture(&self, of: Of<'_>, id: Sha256) -> Result<bool>;
    /// Pictures of all catalogues in the order of their places, behind `after`, at most `limit`.
    async fn pictures(&self, after: Option<&Kept>, limit: u32) -> Result<Vec<Kept>>;
    /// Writes anew what is told of a picture and what it looks like. False if it is gone.
    async fn portray(&self, of: Of<'_>, picture: &ProductPicture, looks: &[i8]) -> Result<bool>;
    /// What all pictures of a catalogue look like.
    async fn shown(&self, catalog: &CatalogId) -> Result<Vec<Shown>>;
    /// Writes what is told of marks of one stream, over those that have their numbers and are still there.
    async fn name_marks(&self, marks: &[Mark]) -> Result<()>;
}

impl Kept {
    /// Its product.
    pub fn of(&self) -> Of<'_> {
        Of { catalog: &self.catalog, sku: &self.sku }
    }
}

/// A product.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// Its catalogue.
    pub catalog: &'a CatalogId,
    /// Its name in the app.
    pub sku: &'a str,
}
