//! Catalogues in SQLite.

use async_trait::async_trait;
use millrace_proto::{
    CatalogId, Sha256,
    api::{Catalog, Product, ProductPicture},
    vision::Embedder,
};
use sqlx::{Row, sqlite::SqliteRow};

use super::{SqliteStore, from_json, int, parsed, to_json, uint, word};
use crate::store::{
    Result,
    catalogs::{Added, Catalogs, Kept, Of, PicturesMax, Put, Shown},
    marks::Mark,
};

/// Catalogues with their counts: one, or all for NULL.
const COUNTED: &str = "SELECT catalog, count(*) AS products,
         (SELECT count(*) FROM product_pictures AS p WHERE p.catalog = products.catalog) AS pictures
     FROM products WHERE ?1 IS NULL OR catalog = ?1 GROUP BY catalog ORDER BY catalog";

#[async_trait]
impl Catalogs for SqliteStore {
    async fn catalogs(&self) -> Result<Vec<Catalog>> {
        let rows = sqlx::query(COUNTED).bind(None::<&str>).fetch_all(&self.reader).await?;
        rows.iter().map(counted).collect()
    }

    async fn catalog(&self, id: &CatalogId) -> Result<Option<Catalog>> {
        let row = sqlx::query(COUNTED).bind(id.as_str()).fetch_optional(&self.reader).await?;
        row.as_ref().map(counted).transpose()
    }

    async fn delete_catalog(&self, id: &CatalogId) -> Result<bool> {
        let mut tx = self.write(None).await?;
        let done = sqlx::query("DELETE FROM products WHERE catalog = ?").bind(id.as_str()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn put_product(&self, product: &Product, products_max: u64) -> Result<Put> {
        let mut tx = self.write(None).await?;
        let catalog = product.catalog.as_str();
        let changed = sqlx::query("UPDATE products SET name = ?, url = ? WHERE catalog = ? AND sku = ?")
            .bind(&product.name)
            .bind(&product.url)
            .bind(catalog)
            .bind(&product.sku)
            .execute(&mut *tx)
            .await?;
        if changed.rows_affected() == 1 {
            tx.commit().await?;
            return Ok(Put::Changed);
        }
        let new = sqlx::query(
            "INSERT INTO products (catalog, sku, name, url, created_ms)
             SELECT ?1, ?2, ?3, ?4, ?5 WHERE (SELECT count(*) FROM products WHERE catalog = ?1) < ?6",
        )
        .bind(catalog)
        .bind(&product.sku)
        .bind(&product.name)
        .bind(&product.url)
        .bind(int(product.created_ms))
        .bind(int(products_max))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(if new.rows_affected() == 1 { Put::New } else { Put::Full })
    }

    async fn product(&self, catalog: &CatalogId, sku: &str) -> Result<Option<Product>> {
        let row = sqlx::query("SELECT * FROM products WHERE catalog = ? AND sku = ?")
            .bind(catalog.as_str())
            .bind(sku)
            .fetch_optional(&self.reader)
            .await?;
        match row {
            Some(row) => Ok(Some(self.with_pictures(&row).await?)),
            None => Ok(None),
        }
    }

    async fn products(&self, catalog: &CatalogId, after: &str, limit: u32) -> Result<Vec<Product>> {
        let rows = sqlx::query("SELECT * FROM products WHERE catalog = ? AND sku > ? ORDER BY sku LIMIT ?")
            .bind(catalog.as_str())
            .bind(after)
            .bind(limit)
            .fetch_all(&self.reader)
            .await?;
        let mut products = Vec::with_capacity(rows.len());
        for row in &rows {
            products.push(self.with_pictures(row).await?);
        }
        Ok(products)
    }

    async fn delete_product(&self, catalog: &CatalogId, sku: &str) -> Result<bool> {
        let mut tx = self.write(None).await?;
        let done = sqlx::query("DELETE FROM products WHERE catalog = ? AND sku = ?")
            .bind(catalog.as_str())
            .bind(sku)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    async fn add_picture(
        &self,
        of: Of<'_>,
        picture: &ProductPicture,
        looks: &[i8],
        most: PicturesMax,
    ) -> Result<Added> {
        let mut tx = self.write(None).await?;
        let counts: (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM products WHERE catalog = ?1 AND sku = ?2),
                    (SELECT count(*) FROM product_pictures WHERE catalog = ?1 AND sku = ?2 AND id = ?3),
                    (SELECT count(*) FROM product_pictures WHERE catalog = ?1 AND sku = ?2),
                    (SELECT count(*) FROM product_pictures WHERE catalog = ?1)",
        )
        .bind(of.catalog.as_str())
        .bind(of.sku)
        .bind(picture.id.to_string())
        .fetch_one(&mut *tx)
        .await?;
        let refused = match counts {
            (0, ..) => Some(Added::Gone),
            (_, 1, ..) => Some(Added::Known),
            (_, _, own, all) if uint(own) >= most.product || uint(all) >= most.catalog => Some(Added::Full),
            _ => None,
        };
        if let Some(refused) = refused {
            tx.leave().await?;
            return Ok(refused);
        }
        sqlx::query(
            "INSERT INTO product_pictures (catalog, sku, id, number, told, looks)
             SELECT ?1, ?2, ?3, coalesce(max(number) + 1, 0), ?4, ?5 FROM product_pictures
             WHERE catalog = ?1 AND sku = ?2",
        )
        .bind(of.catalog.as_str())
        .bind(of.sku)
        .bind(picture.id.to_string())
        .bind(to_json(picture))
        .bind(bytes(looks))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Added::Done)
    }

    async fn delete_picture(&self, of: Of<'_>, id: Sha256) -> Result<bool> {
        let mut tx = self.write(None).await?;
        let done = sqlx::query("DELETE FROM product_pictures WHERE catalog = ? AND sku = ? AND id = ?")
            .bind(of.catalog.as_str())
            .bind(of.sku)
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    async fn pictures(&self, after: Option<&Kept>, limit: u32) -> Result<Vec<Kept>> {
        let rows = sqlx::query(
            "SELECT catalog, sku, told FROM product_pictures WHERE (catalog, sku, id) > (?, ?, ?)
             ORDER BY catalog, sku, id LIMIT ?",
        )
        .bind(after.map_or("", |kept| kept.catalog.as_str()))
        .bind(after.map_or("", |kept| kept.sku.as_str()))
        .bind(after.map(|kept| kept.picture.id.to_string()).unwrap_or_default())
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        let kept = |row: &SqliteRow| {
            let (catalog, told): (String, String) = (row.try_get("catalog")?, row.try_get("told")?);
            Ok(Kept { catalog: parsed(&catalog)?, sku: row.try_get("sku")?, picture: from_json(&told)? })
        };
        rows.iter().map(kept).collect()
    }

    async fn portray(&self, of: Of<'_>, picture: &ProductPicture, looks: &[i8]) -> Result<bool> {
        let mut tx = self.write(None).await?;
        let done =
            sqlx::query("UPDATE product_pictures SET told = ?, looks = ? WHERE catalog = ? AND sku = ? AND id = ?")
                .bind(to_json(picture))
                .bind(bytes(looks))
                .bind(of.catalog.as_str())
                .bind(of.sku)
                .bind(picture.id.to_string())
                .execute(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    async fn shown(&self, catalog: &CatalogId) -> Result<Vec<Shown>> {
        let rows = sqlx::query(
            "SELECT sku, name, url, looks, told ->> 'model' AS model, told ->> 'version' AS version FROM products JOIN product_pictures USING (catalog, sku)
             WHERE catalog = ? ORDER BY sku, number",
        )
        .bind(catalog.as_str())
        .fetch_all(&self.reader)
        .await?;
        let shown = |row: &SqliteRow| {
            let looks: Vec<u8> = row.try_get("looks")?;
            Ok(Shown {
                sku: row.try_get("sku")?,
                name: row.try_get("name")?,
                url: row.try_get("url")?,
                looks: looks.into_iter().map(u8::cast_signed).collect(),
                embedder: Embedder { model: row.try_get("model")?, version: row.try_get("version")? },
            })
        };
        rows.iter().map(shown).collect()
    }

    async fn name_marks(&self, marks: &[Mark]) -> Result<()> {
        let mut tx = self.write(marks.first().map(|mark| &mark.stream)).await?;
        for mark in marks {
            sqlx::query("UPDATE marks SET entry = ? WHERE stream = ? AND kind = ? AND track = ? AND number = ?")
                .bind(to_json(&mark.entry))
                .bind(mark.stream.as_str())
                .bind(word(&mark.entry.kind))
                .bind(&mark.entry.track)
                .bind(int(mark.number))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }
}

impl SqliteStore {
    async fn with_pictures(&self, row: &SqliteRow) -> Result<Product> {
        let (catalog, sku): (String, String) = (row.try_get("catalog")?, row.try_get("sku")?);
        let pictures: Vec<(String,)> =
            sqlx::query_as("SELECT told FROM product_pictures WHERE catalog = ? AND sku = ? ORDER BY number")
                .bind(&catalog)
                .bind(&sku)
                .fetch_all(&self.reader)
                .await?;
        Ok(Product {
            catalog: parsed(&catalog)?,
            sku,
            name: row.try_get("name")?,
            url: row.try_get("url")?,
            created_ms: uint(row.try_get("created_ms")?),
            pictures: pictures.iter().map(|(told,)| from_json(told)).collect::<Result<_>>()?,
        })
    }
}

fn bytes(looks: &[i8]) -> Vec<u8> {
    looks.iter().map(|number| number.cast_unsigned()).collect()
}

fn counted(row: &SqliteRow) -> Result<Catalog> {
    Ok(Catalog {
        id: parsed(&row.try_get::<String, _>("catalog")?)?,
        products: uint(row.try_get("products")?),
        pictures: uint(row.try_get("pictures")?),
    })
}
