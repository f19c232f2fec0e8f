//! HTTP: the apps' API, the workers' protocol, playback, the page.
//!
//! Handlers translate; they decide nothing. Errors become answers in `http/error.rs` alone.

mod answer;
mod auth;
mod captions;
mod catalogs;
mod clips;
mod dash;
mod error;
mod events;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod hls;
pub mod kept;
mod marks;
mod moderation;
mod movie;
mod page;
mod playlist;
mod push;
pub(crate) mod sealed;
pub mod server;
mod stills;
mod streams;
mod timeline;
mod tokens;
mod told;
mod upload;
mod worker;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    middleware,
    routing::{get, post, put},
};
use tower_http::{
    compression::CompressionLayer, cors::CorsLayer, services::ServeDir, set_header::SetResponseHeaderLayer,
    timeout::RequestBodyTimeoutLayer, trace::TraceLayer,
};

use crate::house::House;
use error::{Error, Json};

/// The routes of catalogues.
fn catalogues() -> Router<Arc<House>> {
    Router::new()
        .route("/v1/catalogs", get(catalogs::list))
        .route("/v1/catalogs/{id}", get(catalogs::one).delete(catalogs::delete))
        .route("/v1/catalogs/{id}/products", get(catalogs::products).post(catalogs::post))
        .route(
            "/v1/catalogs/{id}/products/{sku}",
            get(catalogs::product).put(catalogs::put).delete(catalogs::delete_product),
        )
        .route(
            "/v1/catalogs/{id}/products/{sku}/pictures",
            post(catalogs::add).put(catalogs::add).layer(DefaultBodyLimit::disable()),
        )
        .route(
            "/v1/catalogs/{id}/products/{sku}/pictures/{picture}",
            get(catalogs::picture).delete(catalogs::delete_picture),
        )
}

/// All routes.
pub fn router(house: Arc<House>) -> Router {
    // Uploads and pushes look after their bodies themselves.
    let patience = Duration::from_secs(house.config.api.upload_idle_s_max);
    let api = Router::new()
        .route("/v1/streams", post(streams::create).get(streams::list))
        .route("/v1/streams/{id}", get(streams::one).delete(streams::delete))
        .route("/v1/streams/{id}/clips", post(clips::create).get(clips::list))
        .route("/v1/streams/{id}/clips/{clip}", get(clips::one).delete(clips::delete))
        .route("/v1/streams/{id}/end", post(streams::end))
        .route("/v1/streams/{id}/products/match", post(catalogs::again))
        .route("/v1/streams/{id}/moderation", get(moderation::list))
        .route("/v1/streams/{id}/moderation/approve", post(moderation::approve))
        .route("/v1/streams/{id}/moderation/reject", post(moderation::reject))
        .route("/v1/streams/{id}/timeline", get(timeline::get))
        .route("/v1/streams/{id}/tokens", post(tokens::create))
        .route("/v1/events", get(events::get))
        .merge(catalogues())
        .route("/v1/workers", get(streams::workers))
        .route("/v1/playback", get(page::playback))
        .route("/v1/worker/challenge", post(worker::challenge))
        .route("/v1/worker/session", post(worker::session))
        .route("/v1/worker/poll", post(worker::poll))
        .route("/v1/worker/leases/{lease}/renew", post(worker::renew))
        .route("/v1/worker/leases/{lease}/finish", post(worker::finish))
        .route("/v1/worker/leases/{lease}/input/{name}", get(worker::input))
        .route("/v1/worker/leases/{lease}/output/{name}", put(worker::output).layer(DefaultBodyLimit::disable()))
        .layer(RequestBodyTimeoutLayer::new(patience))
        .route("/v1/streams/{id}/source", put(upload::put).layer(DefaultBodyLimit::disable()))
        .route("/v1/streams/{id}/segments/{number}", put(push::put).layer(DefaultBodyLimit::disable()))
        .route("/live/{key}/", put(push::playlist).post(push::playlist))
        .route("/live/{key}/{file}", put(push::live).post(push::live).layer(DefaultBodyLimit::disable()))
        .layer(DefaultBodyLimit::max(house.config.api.json_bytes_max));
    // Players on other sites read playlists and segments; they are public.
    let cors = CorsLayer::new()
        .allow_origin(tower_http::cors::Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::OPTIONS])
        .allow_headers([
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
        ])
        .expose_headers([
            header::ACCEPT_RANGES,
            header::AGE,
            header::CONTENT_LENGTH,
            header::CONTENT_RANGE,
            header::DATE,
            header::ETAG,
        ])
        // All origins get the same answer: a CDN keeps it once.
        .vary([])
        .max_age(Duration::from_hours(24));
    let playback = Router::new()
        .route("/hls/{stream}/key", get(tokens::key))
        .route("/hls/{stream}/{playlist}", get(hls::multivariant).layer(Extension(movie::Movies::default())))
        .route("/hls/{stream}/{rendition}/{file}", get(hls::file))
        .route("/dash/{stream}/{manifest}", get(dash::manifest).layer(Extension(dash::Edges::default())))
        .route("/dash/{stream}/license", post(tokens::license))
        .route("/dash/now", get(dash::now))
        // Set before the layers, which would pass it by otherwise; a preflight is answered by one of them.
        .method_not_allowed_fallback(wrong_method)
        .layer(CompressionLayer::new().compress_when(is_playlist))
        .layer(cors);
    let kept = kept::Kept::new(&house.config.api.kept, house.store.clone());
    let mut router = Router::new()
        .merge(api)
        .merge(playback)
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics));
    router = if house.config.web.as_os_str().is_empty() {
        router.fallback(unknown)
    } else {
        // What is not the page's is not there, whatever the method.
        let page = ServeDir::new(&house.config.web).call_fallback_on_method_not_allowed(true);
        let page = page.not_found_service(axum::routing::any(unknown));
        // Kept, and asked for again: a page must fit the server that it is of.
        router.fallback_service(tower_http::set_header::SetResponseHeader::if_not_present(
            page,
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache"),
        ))
    };
    router
        .method_not_allowed_fallback(wrong_method)
        .layer(SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ))
        // What nobody gave a lifetime is for who asked, at that moment: it may hold secrets, or its own address.
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(middleware::from_fn_with_state(kept, kept::serve))
        .with_state(house)
}

/// What the log tells of a request. Never what follows `?`, which may be a playback token, nor the stream key in
/// the path of a push.
fn span(request: &Request) -> tracing::Span {
    let path = request.uri().path();
    let path = if path.starts_with("/live/") { "/live/..." } else { path };
    tracing::debug_span!("request", method = %request.method(), path)
}

/// Playlists are text, and asked for again and again; media does not get smaller.
fn is_playlist(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == hls::PLAYLIST_TYPE || kind == dash::MANIFEST_TYPE || kind == captions::VTT_TYPE)
}

async fn unknown() -> Error {
    Error::not_found("route", "nothing is here", "see README.md for the addresses that there are")
}

async fn wrong_method() -> Error {
    Error::WrongMethod
}

async fn ready(State(house): State<Arc<House>>) -> Result<&'static str, Error> {
    house.store.ready().await?;
    house.media.ready().await?;
    Ok("ready\n")
}

async fn metrics(State(house): State<Arc<House>>) -> String {
    house.metrics.text()
}

/// An answer in JSON.
type Answer<T> = Result<Json<T>, Error>;
