//! The checker's eyes: what the media child would say of bytes that lie in the media store.

use async_trait::async_trait;
use bytes::Bytes;
use millrace_media::job::{Gauged, Inspection};
use millrace_orchestrator::{
    media::{MediaStore, Place},
    task::source::Decodable,
    verify::{Error, Look, Placed},
};
use millrace_proto::{LeaseId, Sha256, StreamId, task::Blob};
use object_store::GetOptions;

use crate::{faults::Luck, labour, step::Gate};

#[derive(Debug)]
pub(crate) struct Eyes {
    pub(crate) media: MediaStore,
    pub(crate) luck: Luck,
    pub(crate) gate: Gate,
}

impl Eyes {
    async fn bytes(&self, place: Place<'_>, sha256: Sha256) -> Result<Bytes, Error> {
        let found = self.media.get(place, sha256, GetOptions::default()).await?;
        found.bytes().await.map_err(|error| Error::Media(error.into()))
    }
}

#[async_trait]
impl Look for Eyes {
    async fn has(&self, lease: &LeaseId, blob: Blob) -> Result<bool, Error> {
        Ok(self.media.has(lease, blob).await?)
    }

    async fn inspect(&self, segments: &[Placed<'_>], decode_all: bool) -> Result<Vec<Inspection>, Error> {
        self.gate.sleep(20).await;
        if self.luck.fails_before() {
            return Err(Error::NoChild("the simulation says so".into()));
        }
        let mut all = Vec::new();
        for Placed { place, segment: looked_at } in segments {
            let init = self.bytes(*place, looked_at.init.sha256).await?;
            let mut media = Vec::new();
            for blob in looked_at.preroll.iter().chain([&looked_at.segment]) {
                media.push(self.bytes(*place, blob.sha256).await?);
            }
            let Some(seen) = labour::inspect(&init, &media, decode_all) else {
                return Err(Error::Broke("the media child died".into()));
            };
            all.push(seen);
        }
        Ok(all)
    }

    async fn gauge(&self, _: &StreamId, _: &Decodable, _: (u32, u32)) -> Result<Gauged, Error> {
        Err(Error::NoChild("the simulation's pictures are numbers".into()))
    }
}
