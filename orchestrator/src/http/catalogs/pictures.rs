//! `/v1/catalogs/{id}/products/{sku}/pictures`: pictures of products, which are looked at before they are taken. Who gets
//! 201 knows that things are compared with it; a server without the model for that takes none.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use millrace_media::Kind;
use millrace_proto::{
    Sha256,
    api::{Product, ProductPicture},
    vision::Embedder,
};

use super::{Admin, Error, Json, known_id, no_product, read};
use crate::{
    house::House,
    portraits,
    store::catalogs::{Added, Of, PicturesMax},
};

fn no_picture() -> Error {
    Error::not_found("picture", "the product has no such picture", "look up its pictures' ids with GET on the product")
}

/// Safe to repeat: the same bytes are the same picture.
pub(crate) async fn add(
    _: Admin,
    State(house): State<Arc<House>>,
    Path((id, sku)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Json<Product>), Error> {
    let id = known_id(&id)?;
    let of = Of { catalog: &id, sku: &sku };
    read(&house, &id, &sku).await?;
    let Some(_place) = house.portraits.place() else {
        return Err(Error::Busy("too many pictures come in at once".into()));
    };
    let bytes = receive(&house, body).await?;
    let kind = Kind::of(&bytes).ok_or_else(|| bad_picture("it is neither JPEG nor PNG".into()))?;
    let portrait = house.portraits.portray(bytes.clone()).await?;
    let Embedder { model, version } = house.portraits.embedder();
    let picture = ProductPicture {
        id: Sha256::of(&bytes),
        kind: kind.mime().into(),
        bytes: bytes.len() as u64,
        width: portrait.width,
        height: portrait.height,
        model,
        version,
    };
    let limits = &house.config.catalogs;
    let most = PicturesMax { product: limits.product_pictures_max, catalog: limits.pictures_max };
    house.media.put_picture(of, bytes).await?;
    let added = house.store.add_picture(of, &picture, &portrait.looks, most).await?;
    if matches!(added, Added::Full | Added::Gone) {
        house.media.delete_picture(of, picture.id).await?;
    }
    match added {
        Added::Done => Ok((StatusCode::CREATED, Json(read(&house, &id, &sku).await?))),
        Added::Known => Ok((StatusCode::OK, Json(read(&house, &id, &sku).await?))),
        Added::Gone => Err(no_product()),
        Added::Full => {
            let PicturesMax { product, catalog } = most;
            let message = format!("a product has at most {product} pictures, and a catalogue {catalog}");
            Err(Error::conflict("too_many_pictures", message, "delete some that are not needed any more"))
        }
    }
}

fn bad_picture(message: String) -> Error {
    Error::invalid("bad_picture", message, "send the bytes of one JPEG or PNG, as the request's body")
}

impl From<portraits::Error> for Error {
    fn from(error: portraits::Error) -> Self {
        match error {
            portraits::Error::Picture(message) => bad_picture(message),
            portraits::Error::Models(why) => Self::NoModel(why.message),
            portraits::Error::Child(_) => {
                tracing::warn!(%error, "a picture can't be looked at");
                Self::Unavailable("pictures can't be looked at now".into())
            }
        }
    }
}

async fn receive(house: &House, body: Body) -> Result<Bytes, Error> {
    let most = house.config.catalogs.picture_bytes_max;
    let too_large = || Error::TooLarge(format!("a picture has at most {most} bytes"));
    let (mut bytes, mut chunks) = (BytesMut::new(), body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| bad_picture("it broke off on its way".into()))?;
        if (bytes.len() + chunk.len()) as u64 > most {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// The bytes as they came.
pub(crate) async fn one(
    _: Admin,
    State(house): State<Arc<House>>,
    Path((id, sku, picture)): Path<(String, String, String)>,
) -> Result<Response, Error> {
    let id = known_id(&id)?;
    let product = read(&house, &id, &sku).await?;
    let wanted: Sha256 = picture.parse().map_err(|_| no_picture())?;
    let told = product.pictures.iter().find(|told| told.id == wanted).ok_or_else(no_picture)?;
    let bytes = house.media.picture(Of { catalog: &id, sku: &sku }, wanted).await?;
    let kind = HeaderValue::try_from(told.kind.as_str()).map_err(|_| no_picture())?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

pub(crate) async fn delete(
    _: Admin,
    State(house): State<Arc<House>>,
    Path((id, sku, picture)): Path<(String, String, String)>,
) -> Result<StatusCode, Error> {
    let id = known_id(&id)?;
    let of = Of { catalog: &id, sku: &sku };
    let picture: Sha256 = picture.parse().map_err(|_| no_picture())?;
    if !house.store.delete_picture(of, picture).await? {
        return Err(no_picture());
    }
    house.media.delete_picture(of, picture).await?;
    Ok(StatusCode::NO_CONTENT)
}
