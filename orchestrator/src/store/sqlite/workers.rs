//! Workers in SQLite.

use millrace_proto::{Address, offer::Offer};
use sqlx::Row;

use super::{SqliteStore, from_json, int, parsed, to_json, uint};
use crate::store::{Result, record::Worker};

pub(super) async fn greet(store: &SqliteStore, address: Address, offer: &Offer, now_ms: u64) -> Result<()> {
    let mut tx = store.write(None).await?;
    sqlx::query(
        "INSERT INTO workers (address, offer, seen_ms) VALUES (?, ?, ?)
         ON CONFLICT (address) DO UPDATE SET offer = excluded.offer, seen_ms = excluded.seen_ms",
    )
    .bind(address.to_string())
    .bind(to_json(offer))
    .bind(int(now_ms))
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

pub(super) async fn hear(store: &SqliteStore, heard: &[(Address, u64)]) -> Result<()> {
    let mut tx = store.write(None).await?;
    for (address, seen_ms) in heard {
        sqlx::query("UPDATE workers SET seen_ms = max(seen_ms, ?) WHERE address = ?")
            .bind(int(*seen_ms))
            .bind(address.to_string())
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

pub(super) async fn all(store: &SqliteStore, limit: u32) -> Result<Vec<Worker>> {
    let rows = sqlx::query("SELECT * FROM workers ORDER BY seen_ms DESC, address LIMIT ?")
        .bind(limit)
        .fetch_all(&store.reader)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Worker {
                address: parsed(&row.try_get::<String, _>("address")?)?,
                offer: from_json(&row.try_get::<String, _>("offer")?)?,
                seen_ms: uint(row.try_get("seen_ms")?),
                accepted: uint(row.try_get("accepted")?),
                failed: uint(row.try_get("failed")?),
            })
        })
        .collect()
}
