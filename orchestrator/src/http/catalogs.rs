//! `/v1/catalogs`: apps' own products.

mod again;
mod pictures;

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use millrace_proto::{
    CatalogId,
    api::{Catalog, NewProduct, Page, Product, PutProduct, SKU_LENGTH_MAX, is_sku},
};
use serde::Deserialize;
use serde_json::Value;

pub(super) use again::again;
pub(super) use pictures::{add, delete as delete_picture, one as picture};

use super::{
    Answer,
    auth::Admin,
    error::{Error, Json, Query},
};
use crate::{
    clock::now_ms,
    house::House,
    store::catalogs::{Of, Put},
};

const PAGE_ITEMS: u32 = 100;
/// Products that come in one request at most.
const PUT_MAX: usize = 1_000;
const NAME_LENGTH_MAX: usize = 200;
const URL_BYTES_MAX: usize = 4_096;

fn no_catalog() -> Error {
    Error::not_found(
        "catalog",
        "no catalogue with a product has this id",
        "put a product into it, or list those that there are with GET /v1/catalogs",
    )
}

fn no_product() -> Error {
    Error::not_found(
        "product",
        "the catalogue has no product with this SKU",
        "list its products with GET /v1/catalogs/{id}/products",
    )
}

/// An id that a product may be put into; in other places an unreadable one is an unknown one.
fn new_id(text: &str) -> Result<CatalogId, Error> {
    text.parse::<CatalogId>().map_err(|why| {
        Error::invalid(
            "bad_catalog",
            why.to_string(),
            "choose an id for your catalogue; it is there with its first product",
        )
    })
}

fn known_id(text: &str) -> Result<CatalogId, Error> {
    text.parse().map_err(|_| no_catalog())
}

/// What a request brings of a product, checked.
fn checked(catalog: &CatalogId, wish: NewProduct) -> Result<Product, Error> {
    let NewProduct { sku, name, url } = wish;
    if !is_sku(&sku) {
        let sku: String = sku.chars().take(SKU_LENGTH_MAX).collect();
        let message = format!("{sku:?} can't be a SKU");
        let hint = "use 1 to 64 letters, digits, '.', '-' and '_', with no dot at the beginning";
        return Err(Error::invalid("bad_sku", message, hint));
    }
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_LENGTH_MAX {
        let message = format!("{sku}: the name is empty or longer than {NAME_LENGTH_MAX} characters");
        return Err(Error::invalid("bad_name", message, "give a shorter name"));
    }
    if let Some(url) = &url {
        let parsed = reqwest::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if parsed.is_none() || url.len() > URL_BYTES_MAX {
            let message = format!("{sku}: the url is no http or https address of at most {URL_BYTES_MAX} bytes");
            return Err(Error::invalid("bad_url", message, "give the address of the product's page, or none"));
        }
    }
    Ok(Product { catalog: catalog.clone(), sku, name, url, created_ms: now_ms(), pictures: Vec::new() })
}

/// Writes a product; says whether it is new.
async fn write(house: &House, product: &Product) -> Result<bool, Error> {
    let most = house.config.catalogs.products_max;
    match house.store.put_product(product, most).await? {
        Put::New => Ok(true),
        Put::Changed => Ok(false),
        Put::Full => {
            let message = format!("the catalogue has {most} products already");
            Err(Error::conflict("too_many_products", message, "delete some, or use another catalogue"))
        }
    }
}

async fn read(house: &House, catalog: &CatalogId, sku: &str) -> Result<Product, Error> {
    house.store.product(catalog, sku).await?.ok_or_else(no_product)
}

pub(super) async fn list(_: Admin, State(house): State<Arc<House>>) -> Answer<Page<Catalog>> {
    Ok(Json(Page { items: house.store.catalogs().await?, next: None }))
}

pub(super) async fn one(_: Admin, State(house): State<Arc<House>>, Path(id): Path<String>) -> Answer<Catalog> {
    house.store.catalog(&known_id(&id)?).await?.map(Json).ok_or_else(no_catalog)
}

/// Streams that name it keep what was found of it, and find nothing more.
pub(super) async fn delete(
    _: Admin,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Error> {
    let id = known_id(&id)?;
    if !house.store.delete_catalog(&id).await? {
        return Err(no_catalog());
    }
    house.media.delete_catalog(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
pub(super) struct After {
    after: Option<String>,
}

pub(super) async fn products(
    _: Admin,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    Query(After { after }): Query<After>,
) -> Answer<Page<Product>> {
    let id = known_id(&id)?;
    if house.store.catalog(&id).await?.is_none() {
        return Err(no_catalog());
    }
    let mut items = house.store.products(&id, after.as_deref().unwrap_or(""), PAGE_ITEMS + 1).await?;
    let more = items.len() > PAGE_ITEMS as usize;
    items.truncate(PAGE_ITEMS as usize);
    let next = items.last().filter(|_| more).map(|product| product.sku.clone());
    Ok(Json(Page { items, next }))
}

/// One product, or a list of them: all are checked before one is written.
pub(super) async fn post(
    _: Admin,
    State(house): State<Arc<House>>,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Result<(StatusCode, Json<Page<Product>>), Error> {
    let id = new_id(&id)?;
    let bodies = if let Value::Array(all) = body { all } else { vec![body] };
    if bodies.is_empty() || bodies.len() > PUT_MAX {
        let message = format!("the list has {} products", bodies.len());
        return Err(Error::Invalid { code: "bad_list", message, hint: format!("send 1 to {PUT_MAX} at once") });
    }
    let wish = |body: Value| {
        serde_json::from_value::<NewProduct>(body).map_err(|why| {
            Error::invalid(
                "bad_json",
                why.to_string(),
                "send {\"sku\": .., \"name\": .., \"url\": ..}, or a list of them",
            )
        })
    };
    let all = bodies.into_iter().map(|body| checked(&id, wish(body)?)).collect::<Result<Vec<_>, _>>()?;
    let mut items = Vec::with_capacity(all.len());
    for product in &all {
        write(&house, product).await?;
        items.push(read(&house, &id, &product.sku).await?);
    }
    Ok((StatusCode::CREATED, Json(Page { items, next: None })))
}

pub(super) async fn put(
    _: Admin,
    State(house): State<Arc<House>>,
    Path((id, sku)): Path<(String, String)>,
    Json(PutProduct { name, url }): Json<PutProduct>,
) -> Result<(StatusCode, Json<Product>), Error> {
    let product = checked(&new_id(&id)?, NewProduct { sku, name, url })?;
    let status = if write(&house, &product).await? { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(read(&house, &product.catalog, &product.sku).await?)))
}

pub(super) async fn product(
    _: Admin,
    State(house): State<Arc<House>>,
    Path((id, sku)): Path<(String, String)>,
) -> Answer<Product> {
    Ok(Json(read(&house, &known_id(&id)?, &sku).await?))
}

pub(super) async fn delete_product(
    _: Admin,
    State(house): State<Arc<House>>,
    Path((id, sku)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let id = known_id(&id)?;
    if !house.store.delete_product(&id, &sku).await? {
        return Err(no_product());
    }
    house.media.delete_product(Of { catalog: &id, sku: &sku }).await?;
    Ok(StatusCode::NO_CONTENT)
}
