-- Apps' own products, and what pictures of them look like. A catalogue is there while it has a product. The pictures'
-- bytes are in the media store.

CREATE TABLE products (
    catalog    TEXT NOT NULL,
    sku        TEXT NOT NULL,
    name       TEXT NOT NULL,
    url        TEXT,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (catalog, sku)
);

CREATE TABLE product_pictures (
    catalog TEXT NOT NULL,
    sku     TEXT NOT NULL,
    id      TEXT NOT NULL,
    number  INTEGER NOT NULL,
    told    TEXT NOT NULL,
    looks   BLOB NOT NULL,
    PRIMARY KEY (catalog, sku, id),
    FOREIGN KEY (catalog, sku) REFERENCES products (catalog, sku) ON DELETE CASCADE
);

PRAGMA user_version = 10;
