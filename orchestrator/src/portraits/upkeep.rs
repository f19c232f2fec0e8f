//! Keeps pictures of products in order: before an update another model may have looked at them, and a crash leaves bytes
//! that no product has. Takes no input; what it misses it finds at its next turn.

use std::collections::HashSet;

use millrace_proto::{CatalogId, Sha256, api::ProductPicture, vision::Embedder};

use super::{Error, Portraits};
use crate::{
    media::{self, MediaStore},
    store::{
        self, Store,
        catalogs::{Kept, Of},
    },
};

/// Pictures that are read at once.
const PAGE_PICTURES: u32 = 500;
/// Bytes without a record that are younger may belong to a picture that is just coming in.
const COMING_MS: u64 = 3_600_000;

/// A picture's place: catalogue, SKU, hash.
type Place = (CatalogId, String, Sha256);

/// What a turn changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Pictures that were looked at anew.
    pub portrayed: u64,
    /// Those that can't be read any more: nothing is compared with them.
    pub unreadable: u64,
    /// Files that no product has, removed.
    pub swept: u64,
}

/// Why a turn ended early.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The media store failed.
    #[error(transparent)]
    Media(#[from] media::Error),
    /// Nothing can be looked at.
    #[error(transparent)]
    Portrait(#[from] Error),
}

/// One turn, over all catalogues.
pub async fn turn(store: &dyn Store, media: &MediaStore, portraits: &Portraits, now_ms: u64) -> Result<Turn, Stopped> {
    let (mut done, mut known, mut after) = (Turn::default(), HashSet::new(), None);
    let today = portraits.embedder();
    loop {
        let page = store.pictures(after.as_ref(), PAGE_PICTURES).await?;
        for kept in &page {
            known.insert((kept.catalog.clone(), kept.sku.clone(), kept.picture.id));
            if kept.picture.model == today.model && kept.picture.version == today.version {
                continue;
            }
            match portray(store, media, portraits, kept).await {
                Ok(is_there) => done.portrayed += u64::from(is_there),
                Err(Stopped::Portrait(Error::Picture(_)) | Stopped::Media(_)) => done.unreadable += 1,
                Err(error) => return Err(error),
            }
        }
        let is_last = page.len() < PAGE_PICTURES as usize;
        after = page.into_iter().next_back();
        if is_last {
            break;
        }
    }
    done.swept = sweep(store, media, portraits, &known, now_ms).await?;
    Ok(done)
}

/// Looks at a picture anew. False if it was deleted meanwhile.
async fn portray(store: &dyn Store, media: &MediaStore, portraits: &Portraits, kept: &Kept) -> Result<bool, Stopped> {
    let bytes = media.picture(kept.of(), kept.picture.id).await?;
    let portrait = portraits.portray(bytes).await?;
    let Embedder { model, version } = portraits.embedder();
    let (width, height) = (portrait.width, portrait.height);
    let picture = ProductPicture { width, height, model, version, ..kept.picture.clone() };
    Ok(store.portray(kept.of(), &picture, &portrait.looks).await?)
}

/// Removes the bytes that no product has. `known` are those that one had a moment ago.
async fn sweep(
    store: &dyn Store,
    media: &MediaStore,
    portraits: &Portraits,
    known: &HashSet<Place>,
    now_ms: u64,
) -> Result<u64, Stopped> {
    let mut lost = media.pictures(now_ms.saturating_sub(COMING_MS)).await?;
    lost.retain(|place| !known.contains(place));
    if lost.is_empty() {
        return Ok(0);
    }
    // The same bytes may be coming in just now: none do while this looks once more and removes them.
    let _places = portraits.all_places().await;
    let mut swept = 0;
    for (catalog, sku, id) in lost {
        let product = store.product(&catalog, &sku).await?;
        if product.is_none_or(|product| product.pictures.iter().all(|picture| picture.id != id)) {
            media.delete_picture(Of { catalog: &catalog, sku: &sku }, id).await?;
            swept += 1;
        }
    }
    Ok(swept)
}
