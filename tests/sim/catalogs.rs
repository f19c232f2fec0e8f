//! Nobody has a catalogue here: stores that fail or lie pass such calls on.

macro_rules! pass_catalogs {
    ($store:ident) => {
        #[async_trait]
        impl<S: Store> millrace_orchestrator::store::catalogs::Catalogs for $store<S> {
            async fn catalogs(&self) -> Result<Vec<millrace_proto::api::Catalog>> {
                self.inner.catalogs().await
            }
            async fn catalog(&self, id: &millrace_proto::CatalogId) -> Result<Option<millrace_proto::api::Catalog>> {
                self.inner.catalog(id).await
            }
            async fn delete_catalog(&self, id: &millrace_proto::CatalogId) -> Result<bool> {
                self.inner.delete_catalog(id).await
            }
            async fn put_product(
                &self,
                product: &millrace_proto::api::Product,
                products_max: u64,
            ) -> Result<millrace_orchestrator::store::catalogs::Put> {
                self.inner.put_product(product, products_max).await
            }
            async fn product(
                &self,
                catalog: &millrace_proto::CatalogId,
                sku: &str,
            ) -> Result<Option<millrace_proto::api::Product>> {
                self.inner.product(catalog, sku).await
            }
            async fn products(
                &self,
                catalog: &millrace_proto::CatalogId,
                after: &str,
                limit: u32,
            ) -> Result<Vec<millrace_proto::api::Product>> {
                self.inner.products(catalog, after, limit).await
            }
            async fn delete_product(&self, catalog: &millrace_proto::CatalogId, sku: &str) -> Result<bool> {
                self.inner.delete_product(catalog, sku).await
            }
            async fn add_picture(
                &self,
                of: millrace_orchestrator::store::catalogs::Of<'_>,
                picture: &millrace_proto::api::ProductPicture,
                looks: &[i8],
                most: millrace_orchestrator::store::catalogs::PicturesMax,
            ) -> Result<millrace_orchestrator::store::catalogs::Added> {
                self.inner.add_picture(of, picture, looks, most).await
            }
            async fn delete_picture(
                &self,
                of: millrace_orchestrator::store::catalogs::Of<'_>,
                id: millrace_proto::Sha256,
            ) -> Result<bool> {
                self.inner.delete_picture(of, id).await
            }
            async fn pictures(
                &self,
                after: Option<&millrace_orchestrator::store::catalogs::Kept>,
                limit: u32,
            ) -> Result<Vec<millrace_orchestrator::store::catalogs::Kept>> {
                self.inner.pictures(after, limit).await
            }
            async fn portray(
                &self,
                of: millrace_orchestrator::store::catalogs::Of<'_>,
                picture: &millrace_proto::api::ProductPicture,
                looks: &[i8],
            ) -> Result<bool> {
                self.inner.portray(of, picture, looks).await
            }
            async fn shown(
                &self,
                catalog: &millrace_proto::CatalogId,
            ) -> Result<Vec<millrace_orchestrator::store::catalogs::Shown>> {
                self.inner.shown(catalog).await
            }
            async fn name_marks(&self, marks: &[millrace_orchestrator::store::marks::Mark]) -> Result<()> {
                self.inner.name_marks(marks).await
            }
        }
    };
}

pub(crate) use pass_catalogs;
