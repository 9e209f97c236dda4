//! What is measured is the API server, so requests are made as bytes before the clock starts, and answers
//! are not looked into before it has stopped.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use assent_tests::{ControlPlane, Person};
use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use kube::Client;
use serde_json::Value;

/// How many requests are made at the same time when things are prepared.
const CONCURRENCY: usize = 32;

/// As many requests as the operator has under way about pods.
pub const OPERATOR_CONCURRENCY: usize = 64;

/// Somebody's connection to the API server.
#[derive(Clone)]
pub struct Rest(pub Client);

impl Rest {
    /// A connection of its own.
    pub fn of(cluster: &ControlPlane, person: Person) -> Result<Self> {
        cluster.client(person).map(Self)
    }

    /// The answer to a request, as it came, and how long it took.
    pub async fn timed(&self, request: Request<Vec<u8>>) -> Result<(String, Duration)> {
        let what = format!("{} {}", request.method(), request.uri());
        let begin = Instant::now();
        let answer = self.0.request_text(request).await;
        let took = begin.elapsed();
        answer.map(|answer| (answer, took)).context(what)
    }

    /// An object or list.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.json(Request::get(path).body(Vec::new())?).await
    }

    /// The names of what is in a list.
    pub async fn names(&self, path: &str) -> Result<Vec<String>> {
        let list = self.get(path).await?;
        let name = |object: &Value| object["metadata"]["name"].as_str().map(str::to_owned);
        Ok(list["items"].as_array().into_iter().flatten().filter_map(name).collect())
    }

    /// What was created.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.json(post(path, object)?).await
    }

    /// Creates objects, many at a time, each where its path says.
    pub async fn create_all(&self, objects: Vec<(String, Value)>) -> Result<()> {
        let requests = objects.iter().map(|(path, object)| post(path, object)).collect::<Result<_>>()?;
        self.all(requests, CONCURRENCY).await
    }

    /// Makes requests, so many at a time.
    pub async fn all(&self, requests: Vec<Request<Vec<u8>>>, at_a_time: usize) -> Result<()> {
        let make = |request| async move { self.timed(request).await.map(drop) };
        stream::iter(requests).map(make).buffer_unordered(at_a_time).try_collect().await
    }

    /// Deletes what is at `path`, now: an object, or all of a list.
    pub async fn delete_now(&self, path: &str) -> Result<()> {
        self.json(Request::delete(format!("{path}?gracePeriodSeconds=0")).body(Vec::new())?).await.map(drop)
    }

    async fn json(&self, request: Request<Vec<u8>>) -> Result<Value> {
        let (answer, _) = self.timed(request).await?;
        serde_json::from_str(&answer).context("the API server answers in JSON")
    }
}

/// A request to create `object`.
pub fn post(path: &str, object: &Value) -> Result<Request<Vec<u8>>> {
    Ok(Request::post(path)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())?)
}

/// A request to change a part of an object.
pub fn patch(path: &str, part: &Value) -> Result<Request<Vec<u8>>> {
    let request = Request::patch(path).header("content-type", "application/merge-patch+json");
    Ok(request.body(part.to_string().into_bytes())?)
}

/// The same, where lists are merged by their keys.
pub fn strategic(path: &str, part: &Value) -> Result<Request<Vec<u8>>> {
    let request = Request::patch(path).header("content-type", "application/strategic-merge-patch+json");
    Ok(request.body(part.to_string().into_bytes())?)
}
