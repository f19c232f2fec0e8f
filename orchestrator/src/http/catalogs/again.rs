//! `POST /v1/streams/{id}/products/match`: what is to be seen in a recording is compared with its catalogue as it is now.

use std::sync::Arc;

use axum::extract::{Path, State};
use millrace_proto::{api::Rematched, offer::Capability};

use super::{Admin, Answer, Error, Json, no_catalog};
use crate::{house::House, http::streams, matching};

/// Entries that one answer tells at most; all are changed.
const TOLD_MAX: usize = 1_000;

pub(crate) async fn again(_: Admin, State(house): State<Arc<House>>, Path(id): Path<String>) -> Answer<Rematched> {
    let stream = streams::kept(&house, &id).await?;
    let Some(catalog) = matching::catalog(&stream.profile) else {
        let message = "the stream's profile names no catalogue";
        return Err(Error::conflict("no_catalog", message, "name one as products.catalog of a new stream's profile"));
    };
    if house.store.catalog(&catalog).await?.is_none() {
        return Err(no_catalog());
    }
    let chains = house.store.chains(&stream.id).await?;
    if chains.iter().any(|chain| chain.kind == Capability::Products && chain.open) {
        let message = "what is to be seen in the stream is not all found yet";
        let hint = "ask again when the track is complete in the timeline; until then all is compared as it comes";
        return Err(Error::conflict("not_complete", message, hint));
    }
    let renamed = matching::again(&*house.store, &stream, &catalog).await?;
    let changes = renamed.changed.len() as u64;
    let changed = renamed.changed.into_iter().take(TOLD_MAX).map(|mark| mark.entry).collect();
    Ok(Json(Rematched { stream: stream.id, catalog, appearances: renamed.appearances, changes, changed }))
}
