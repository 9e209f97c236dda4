//! Requests to the API server. Serialization and parsing are outside the measured time.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use assent_tests::{ControlPlane, Person};
use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use kube::api::{WatchEvent, WatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The number of concurrent requests during preparation.
const CONCURRENCY: usize = 32;

/// The maximum number of requests about pods that the operator sends at the same time.
pub const OPERATOR_CONCURRENCY: usize = 64;

#[derive(Clone)]
pub struct Rest(pub Client);

impl Rest {
    /// A client with its own connection.
    pub fn of(cluster: &ControlPlane, person: Person) -> Result<Self> {
        cluster.client(person).map(Self)
    }

    /// Makes a request. Returns the response body as text, and the duration.
    pub async fn timed(&self, request: Request<Vec<u8>>) -> Result<(String, Duration)> {
        let what = format!("{} {}", request.method(), request.uri());
        let begin = Instant::now();
        let answer = self.0.request_text(request).await;
        let took = begin.elapsed();
        answer.map(|answer| (answer, took)).context(what)
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.json(Request::get(path).body(Vec::new())?).await
    }

    pub async fn names(&self, path: &str) -> Result<Vec<String>> {
        let list = self.get(path).await?;
        let name = |object: &Value| object["metadata"]["name"].as_str().map(str::to_owned);
        Ok(list["items"].as_array().into_iter().flatten().filter_map(name).collect())
    }

    /// Creates an object. Returns the stored object.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.json(post(path, object)?).await
    }

    /// Creates objects at their paths, [`CONCURRENCY`] at a time.
    pub async fn create_all(&self, objects: Vec<(String, Value)>) -> Result<()> {
        let requests = objects.iter().map(|(path, object)| post(path, object)).collect::<Result<_>>()?;
        self.all(requests, CONCURRENCY).await
    }

    /// Makes requests, `concurrency` at a time.
    pub async fn all(&self, requests: Vec<Request<Vec<u8>>>, concurrency: usize) -> Result<()> {
        let make = |request| async move { self.timed(request).await.map(drop) };
        stream::iter(requests).map(make).buffer_unordered(concurrency).try_collect().await
    }

    /// Starts a watch of an object. The returned future gives the instant at which `meets` accepts the object.
    pub async fn until<K, F>(
        &self,
        namespace: &str,
        name: &str,
        meets: F,
    ) -> Result<impl Future<Output = Result<Instant>> + use<K, F>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug
            + 'static,
        F: Fn(&K) -> bool,
    {
        let api: Api<K> = Api::namespaced(self.0.clone(), namespace);
        let only = WatchParams::default().fields(&format!("metadata.name={name}"));
        let mut events = api.watch(&only, "0").await?.boxed();
        let name = name.to_owned();
        Ok(async move {
            while let Some(event) = events.try_next().await? {
                let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
                if meets(&object) {
                    return Ok(Instant::now());
                }
            }
            bail!("the watch of {name} ended")
        })
    }

    /// Deletes an object or a collection without a grace period.
    pub async fn delete_now(&self, path: &str) -> Result<()> {
        self.json(Request::delete(format!("{path}?gracePeriodSeconds=0")).body(Vec::new())?).await.map(drop)
    }

    async fn json(&self, request: Request<Vec<u8>>) -> Result<Value> {
        let (answer, _) = self.timed(request).await?;
        serde_json::from_str(&answer).context("the API server answers in JSON")
    }
}

pub fn post(path: &str, object: &Value) -> Result<Request<Vec<u8>>> {
    Ok(Request::post(path)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())?)
}

pub fn patch(path: &str, part: &Value) -> Result<Request<Vec<u8>>> {
    let request = Request::patch(path).header("content-type", "application/merge-patch+json");
    Ok(request.body(part.to_string().into_bytes())?)
}

/// A strategic merge patch, which merges lists by their keys.
pub fn strategic(path: &str, part: &Value) -> Result<Request<Vec<u8>>> {
    let request = Request::patch(path).header("content-type", "application/strategic-merge-patch+json");
    Ok(request.body(part.to_string().into_bytes())?)
}
