//! Pictures of products: with their product, named by their hash.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use millrace_proto::{CatalogId, Sha256};
use object_store::{GetOptions, ObjectStoreExt, path::Path as Key};

use super::{MediaStore, Result};
use crate::store::catalogs::Of;

/// No stream's id has a dot.
const FOLDER: &str = "catalog.";

fn catalog_key(catalog: &CatalogId) -> Key {
    Key::from(format!("{FOLDER}{catalog}"))
}

fn product_key(of: Of<'_>) -> Key {
    catalog_key(of.catalog).join(of.sku)
}

/// Whose picture lies there, if one does.
fn place(key: &Key) -> Option<(CatalogId, String, Sha256)> {
    let parts: Vec<_> = key.parts().collect();
    let [catalog, sku, id] = &parts[..] else { return None };
    let catalog = catalog.as_ref().strip_prefix(FOLDER)?.parse().ok()?;
    Some((catalog, sku.as_ref().to_owned(), id.as_ref().parse().ok()?))
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

    /// All pictures that lie here and were written before `before_ms` (Unix time), in no order.
    pub async fn pictures(&self, before_ms: u64) -> Result<Vec<(CatalogId, String, Sha256)>> {
        let mut found = Vec::new();
        let folders = self.0.list_with_delimiter(None).await?.common_prefixes;
        for folder in folders.into_iter().filter(|folder| folder.as_ref().starts_with(FOLDER)) {
            let mut keys = self.0.list(Some(&folder)).boxed();
            while let Some(meta) = keys.try_next().await? {
                let is_old = u64::try_from(meta.last_modified.timestamp_millis()).is_ok_and(|at_ms| at_ms < before_ms);
                found.extend(place(&meta.location).filter(|_| is_old));
            }
        }
        Ok(found)
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
