//! The configured Prometheus servers, and a small client for their instant queries.
//!
//! A query may take at most 10 s, and its answer at most 64 KiB. The client follows no redirect. After a failed
//! connection, the client sends no query to this server for 1 s. With each further failure, this pause doubles, up to
//! one minute.
//!
//! Only the configuration of the operator contains the addresses of servers. A monitor selects a server by name.

use std::{
    collections::HashMap,
    net::IpAddr,
    str::FromStr,
    sync::Mutex,
    time::{Duration, Instant},
};

use http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::{Client, Config, client::Body};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::answer::{SIZE, measurement};
use crate::{lock::lock, policy::Measurement};

/// The maximum time of a query.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of concurrent queries of one server. By default, Prometheus runs 20, and people need some of
/// these.
const CONCURRENCY: usize = 16;

/// The maximum time to connect.
const CONNECT: Duration = Duration::from_secs(2);

/// The minimum and maximum pause after a failure to connect. During the pause, the operator sends no query to the
/// server.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(1)];

/// The configuration of the monitors: the Prometheus servers, and the label that names a namespace.
#[derive(Clone, Debug)]
pub struct MonitorOptions {
    /// The Prometheus servers that a monitor can name.
    pub sources: SourceList,
    /// The label with which each series names its namespace.
    pub label: String,
}

/// The Prometheus servers, parsed from a JSON list of objects with `name`, `url`, `caFile` and `tokenFile`.
#[derive(Clone, Debug, Default)]
pub struct SourceList(Vec<(String, Config)>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Described {
    name: String,
    url: String,
    ca_file: Option<String>,
    token_file: Option<String>,
}

/// The error for a list of Prometheus servers that is not valid.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSources(String);

impl FromStr for SourceList {
    type Err = InvalidSources;

    fn from_str(text: &str) -> Result<Self, InvalidSources> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let described: Vec<Described> = serde_json::from_str(text).map_err(|error| {
            InvalidSources(format!("the list of Prometheus servers is not valid JSON: {error}"))
        })?;
        described
            .into_iter()
            .map(|one| Ok((one.name.clone(), configured(one)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn configured(source: Described) -> Result<Config, InvalidSources> {
    let Described { name, url, ca_file, token_file } = source;
    let invalid = |why: &str| InvalidSources(format!("the url of Prometheus {name} {why}"));
    let url: http::Uri = url.parse().map_err(|_| invalid("is not valid"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(invalid("must begin with http:// or https://"));
    }
    // Error texts quote the address, so it must not contain a password.
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(invalid("contains a password: use tokenFile"));
    }
    if token_file.is_some() && url.scheme_str() == Some("http") && !is_loopback(&url) {
        return Err(invalid("sends a token without encryption: use https://, or remove tokenFile"));
    }
    let mut config = Config::new(url);
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    config.root_cert_file = ca_file.map(Into::into);
    config.auth_info.token_file = token_file;
    Ok(config)
}

/// Whether the host of the address is a loopback address, such as the address of a proxy in the operator's pod.
fn is_loopback(url: &http::Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl MonitorOptions {
    /// The servers, by name. Logs and leaves out a server whose client cannot be created.
    pub(super) fn sources(&self) -> HashMap<String, Source> {
        let source = |(name, config): &(String, Config)| match Client::try_from(config.clone()) {
            Ok(client) => {
                let (turns, outage) = (Semaphore::new(CONCURRENCY), Mutex::default());
                Some((name.clone(), Source { client, turns, outage }))
            }
            Err(error) => {
                tracing::error!(source = name, "monitors cannot use this Prometheus: {error}");
                None
            }
        };
        self.sources.0.iter().filter_map(source).collect()
    }
}

pub(super) struct Source {
    client: Client,
    /// Limits how many queries run at the same time. The semaphore serves waiting queries in the order of their calls.
    pub(super) turns: Semaphore,
    outage: Mutex<Option<Outage>>,
}

#[derive(Clone)]
struct Outage {
    why: String,
    wait: Duration,
    /// The time of the last failure that changed `wait`.
    at: Instant,
    /// The operator sends no query before this time.
    next: Instant,
}

impl Source {
    pub(super) async fn query(&self, query: &str) -> Measurement {
        if let Some(outage) = self.outage_at(Instant::now()) {
            return Measurement::NoAnswer(outage);
        }
        let begun = Instant::now();
        // The client's own read timeout is no replacement, because it also counts the idle time of a connection.
        match tokio::time::timeout(TIMEOUT, self.ask(query)).await {
            // A timeout starts no outage. Otherwise, a slow query of one namespace would stop the queries of other
            // namespaces.
            Err(_) => Measurement::NoAnswer(format!("no answer within {} s", TIMEOUT.as_secs())),
            Ok(Ok(measured)) => {
                *lock(&self.outage) = None;
                measured
            }
            Ok(Err(error)) => Measurement::NoAnswer(self.failed(&error, begun, Instant::now())),
        }
    }

    /// The reason for the outage, if the caller must not send its query now. After each pause, only one caller may send
    /// a query, to test the connection.
    fn outage_at(&self, now: Instant) -> Option<String> {
        let mut outage = lock(&self.outage);
        let outage = outage.as_mut()?;
        if now < outage.next {
            return Some(outage.why.clone());
        }
        outage.next = now + CONNECT;
        None
    }

    /// Records a failed connection and returns the reason. A query that began before the last recorded failure does not
    /// extend the pause, because both have the same cause.
    fn failed(&self, error: &kube::Error, begun: Instant, now: Instant) -> String {
        let [min, max] = BACKOFF;
        let mut outage = lock(&self.outage);
        if let Some(known) = outage.as_ref().filter(|outage| begun <= outage.at) {
            return known.why.clone();
        }
        let wait = outage.as_ref().map_or(min, |outage| (outage.wait * 2).min(max));
        let why = format!("no connection: {}", causes(error));
        *outage = Some(Outage { why: why.clone(), wait, at: now, next: now + wait });
        why
    }

    async fn ask(&self, query: &str) -> Result<Measurement, kube::Error> {
        let timeout = format!("{}s", TIMEOUT.as_secs());
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", query)
            .append_pair("timeout", &timeout)
            .finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1/query")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.into_bytes()))
            .map_err(kube::Error::HttpError)?;
        let (parts, body) = self.client.send(request).await?.into_parts();
        let body = match Limited::new(body, SIZE).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Ok(Measurement::NoValue(format!("the answer is larger than {} KiB", SIZE >> 10)));
            }
            Err(error) => return Ok(Measurement::NoAnswer(format!("the answer broke off: {error}"))),
        };
        Ok(measurement(parts.status, &body))
    }
}

/// The innermost cause of an error. The texts of the outer errors add nothing.
fn causes(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    crate::truncate::shorten(inner.to_string(), 256)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A server that gives the same answer to each request, and counts the connections.
    async fn server(answer: String) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let counted = Arc::<AtomicUsize>::default();
        let counting = Arc::clone(&counted);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counting.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (address, counted)
    }

    fn source(address: &str) -> Source {
        let list = format!(r#"[{{"name":"default","url":"http://{address}"}}]"#);
        let sources: SourceList = list.parse().expect("a list");
        let options = MonitorOptions { sources, label: "namespace".to_owned() };
        options.sources().remove("default").expect("a client")
    }

    fn http(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn redirect_is_not_followed() {
        let body = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#;
        let (target, reached) = server(http("200 OK", body)).await;
        let (address, _) =
            server(http(&format!("307 Temporary Redirect\r\nLocation: http://{target}/"), "")).await;
        let measured = source(&address).query("up").await;
        assert!(matches!(&measured, Measurement::NoAnswer(why) if why.contains("redirect")), "{measured:?}");
        assert_eq!(reached.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn large_answer_is_not_read() {
        let (address, _) = server(http("200 OK", &" ".repeat(1 << 20))).await;
        let measured = source(&address).query("up").await;
        assert!(matches!(&measured, Measurement::NoValue(why) if why.contains("larger")), "{measured:?}");
    }

    #[tokio::test]
    async fn source_without_a_connection_is_not_asked_by_every_monitor() {
        let port = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let source = source(&port.to_string());
        for _ in 0..1000 {
            let measured = source.query("up").await;
            assert!(
                matches!(&measured, Measurement::NoAnswer(why) if why.contains("no connection")),
                "{measured:?}"
            );
        }
        let outage = lock(&source.outage).clone().expect("an outage");
        assert!(outage.wait <= BACKOFF[0] * 2, "{:?}: the other queries did not connect", outage.wait);
    }

    #[tokio::test]
    async fn failures_in_flight_together_pause_the_queries_once() {
        let port = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let source = source(&port.to_string());
        let error = source.ask("up").await.expect_err("no server");
        let begun = Instant::now();
        for _ in 0..64 {
            source.failed(&error, begun, Instant::now());
        }
        let outage = lock(&source.outage).clone().expect("an outage");
        assert_eq!(outage.wait, BACKOFF[0]);
    }

    #[test]
    fn list_of_servers_is_read_and_passwords_in_addresses_are_refused() {
        let read = |text: &str| SourceList::from_str(text).map(|list| list.0.len());
        assert_eq!(read("").ok(), Some(0));
        assert_eq!(read(r#"[{"name":"default","url":"http://prometheus:9090/prefix"}]"#).ok(), Some(1));
        let full = r#"[{"name":"a","url":"https://p","caFile":"/ca.crt","tokenFile":"/token"}]"#;
        assert_eq!(read(full).ok(), Some(1));
        for near in ["http://127.0.0.1:9090", "http://localhost", "http://[::1]:9090", "https://p"] {
            let list = format!(r#"[{{"name":"a","url":"{near}","tokenFile":"/token"}}]"#);
            assert_eq!(read(&list).ok(), Some(1), "{near}");
        }
        for (bad, why) in [
            ("{}", "not valid JSON"),
            (r#"[{"name":"a","url":"ftp://p"}]"#, "must begin with http"),
            (r#"[{"name":"a","url":"p:9090"}]"#, "must begin with http"),
            (r#"[{"name":"a","url":"http://user:secret@p"}]"#, "tokenFile"),
            (r#"[{"name":"a","url":"http://p","token":"secret"}]"#, "unknown field"),
            (r#"[{"name":"a","url":"http://p","tokenFile":"/token"}]"#, "without encryption"),
            (r#"[{"name":"a","url":"http://localhost.p","tokenFile":"/token"}]"#, "without encryption"),
        ] {
            let error = read(bad).expect_err(bad).to_string();
            assert!(error.contains(why) && !error.contains("secret"), "{error}");
        }
    }
}
