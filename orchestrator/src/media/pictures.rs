//! Pictures of products: with their product, named by their hash.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use millrace_proto::{CatalogId, Sha256};
use object_store::{GetOptions, ObjectStoreExt, path::Path as Key};

use super::{MediaStore, Result};
use crate::store::catalogs::Of;

/// No stream's id has a dot.
fn catalog_key(catalog: &CatalogId) -> Key {
    Key::from(format!("catalog.{catalog}"))
}

fn product_key(of: Of<'_>) -> Key {
    catalog_key(of.catalog).join(of.sku)
}

impl MediaStore {
    /// Stores a picture of a product; durable when this returns.
    pub async fn put_picture(&self, of: Of<'_>, bytes: Bytes) -> Result<()> {
        let key = product_key(of).join(Sha256::of(&bytes).to_string());
        self.0.put(&key, bytes.into()).await?;
        Ok(())
    }

    /// A picture's bytes.
    pub async fn picture(&self, of: Of<'_>, id: Sha256) -> Result<Bytes> {
        let found = self.0.get_opts(&product_key(of).join(id.to_string()), GetOptions::default()).await?;
        Ok(found.bytes().await?)
    }

    /// Removes a picture; it may be gone already.
    pub async fn delete_picture(&self, of: Of<'_>, id: Sha256) -> Result<()> {
        self.remove(&product_key(of).join(id.to_string())).await
    }

    /// Removes all pictures of a product.
    pub async fn delete_product(&self, of: Of<'_>) -> Result<()> {
        self.remove_below(&product_key(of)).await
    }

    /// Removes all pictures of a catalogue.
    pub async fn delete_catalog(&self, catalog: &CatalogId) -> Result<()> {
        self.remove_below(&catalog_key(catalog)).await
    }

    async fn remove_below(&self, folder: &Key) -> Result<()> {
        let keys = self.0.list(Some(folder)).map_ok(|meta| meta.location).boxed();
        self.0.delete_stream(keys).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }
}
