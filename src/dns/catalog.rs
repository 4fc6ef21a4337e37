//! What the door reads: the cluster's data through the client, or a table in a test.

use std::future::Future;

use crate::client::Client;
use crate::model::{Consistency, Index, Query, Read, ReadOptions, Unavailable};

/// Answers the door's reads. A trait, so that tests can put a table in the catalog's place.
pub(super) trait Catalog: Send + Sync + 'static {
    /// Reads, as fresh as the door was told to be.
    fn read(&self, query: Query) -> impl Future<Output = Result<Read, Unavailable>> + Send;

    /// The index that [`Catalog::read`] of a service's health would show, without its answer.
    fn changed(&self, query: &Query) -> impl Future<Output = Result<Index, Unavailable>> + Send;
}

/// The cluster's data as this process's replica has it.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
    consistency: Consistency,
}

impl Cluster {
    pub(super) fn new(client: Client, consistency: Consistency) -> Self {
        Self { client, consistency }
    }
}

impl Catalog for Cluster {
    async fn read(&self, query: Query) -> Result<Read, Unavailable> {
        let options = ReadOptions { consistency: self.consistency, ..ReadOptions::default() };
        self.client.read(query, options).await
    }

    async fn changed(&self, query: &Query) -> Result<Index, Unavailable> {
        self.client.changed(query, self.consistency).await
    }
}
