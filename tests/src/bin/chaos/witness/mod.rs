//! The witness: a separate process that only watches the API server. It records all changes, and judges them at the
//! end. The file `history.jsonl` contains each recorded change.
//!
//! ```text
//!  API server ── watches ──► Lines ──► History ─┐
//!  chaos test ── standard input ──► Testimony ──┴─► judge ──► Verdict ── standard output ──► chaos test
//! ```

mod history;
mod judge;
mod record;
mod story;
mod uptime;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use assent_tests::{HOSTILE, NAMESPACE};
use clap::Args;
use futures::stream::SelectAll;
use futures::{StreamExt as _, future, stream};
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::{Instant, sleep};

use self::history::{Change, History, Line};
use self::judge::{Figures, judge, unsettled};
pub use self::judge::{Testimony, Violation};

/// The longest time from the end of the faults to the expected final state. [`Watches::settle`] adds the largest clock
/// error.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The wait after an error of a watch, so that retries cause little load on the API server.
const RETRY_DELAY: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct Options {
    /// The kubeconfig of the witness.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// The namespaces to watch.
    #[arg(long, value_delimiter = ',')]
    namespaces: Vec<String>,
    /// The file for the recorded changes.
    #[arg(long)]
    history: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    pub figures: Figures,
    /// The changes and outages that led to the first violation, in order of time.
    pub story: Vec<String>,
    /// The time from the end of the faults to the expected final state.
    pub settled: Duration,
}

/// Records changes until a testimony comes on standard input. Then judges the changes and prints the verdict.
pub async fn run(options: Options) -> Result<()> {
    let kubeconfig = Kubeconfig::read_from(&options.kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    let mut watches = Watches::open(&Client::try_from(config)?, &options.namespaces, &options.history)?;
    watches.wait_for_lists().await?;
    println!("watching");
    let mut testimony = String::new();
    let mut stdin = BufReader::new(tokio::io::stdin());
    tokio::select! {
        read = stdin.read_line(&mut testimony) => drop(read.context("the testimony")?),
        () = watches.watch() => {}
    }
    let testimony: Testimony = serde_json::from_str(&testimony).context("the testimony")?;
    let begin = Instant::now();
    let left = watches.settle(&testimony).await;
    let history = History::new(&watches.lines);
    let (mut violations, figures) = judge(&history, &testimony);
    violations.extend(left.into_iter().map(|says| Violation {
        promise: if says.starts_with("pod") { "I2" } else { "I3" }.to_owned(),
        object: String::new(),
        subject: Default::default(),
        from: history.end,
        to: history.end,
        says: format!("{TIMEOUT:?} after the last fault: {says}"),
    }));
    let story =
        violations.first().map_or_else(Vec::new, |first| story::of(first, &watches.lines, &testimony));
    let verdict = Verdict { violations, figures, story, settled: begin.elapsed() };
    println!("{}", serde_json::to_string(&verdict)?);
    Ok(())
}

/// The watches of the witness, and the changes that they delivered. A source is one kind in one namespace, or one
/// cluster-scoped kind.
struct Watches {
    events: SelectAll<stream::BoxStream<'static, (usize, watcher::Result<Event<DynamicObject>>)>>,
    file: BufWriter<File>,
    lines: Vec<Line>,
    /// The existing objects of each source.
    there: Vec<BTreeMap<String, DynamicObject>>,
    /// For each source, the objects of a list that is not complete yet.
    listed: Vec<Option<BTreeMap<String, DynamicObject>>>,
    /// The sources whose first list is not complete.
    unlisted: Vec<usize>,
}

impl Watches {
    fn open(client: &Client, namespaces: &[String], history: &PathBuf) -> Result<Self> {
        let kind = |group: &str, version: &str, kind: &str, plural: &str| ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let assent = ["RiskLevel", "AISystem", "ModelVersion", "Approval", "Clearance"];
        let assent =
            assent.map(|name| kind("assent.dev", "v1alpha1", name, &format!("{}s", name.to_lowercase())));
        let kubernetes = [
            kind("", "v1", "Pod", "pods"),
            kind("apps", "v1", "Deployment", "deployments"),
            kind("coordination.k8s.io", "v1", "Lease", "leases"),
            kind("events.k8s.io", "v1", "Event", "events"),
        ];
        let sources: Vec<_> =
            assent.iter().chain(&kubernetes).flat_map(|kind| sources(client, kind, namespaces)).collect();
        let count = sources.len();
        let events = sources.into_iter().enumerate().map(|(n, (api, config))| {
            let events = watcher(api, config).then(async |event| {
                if event.is_err() {
                    sleep(RETRY_DELAY).await;
                }
                event
            });
            events.map(move |event| (n, event)).boxed()
        });
        Ok(Self {
            events: stream::select_all(events),
            file: BufWriter::new(File::create(history)?),
            lines: Vec::new(),
            there: vec![BTreeMap::new(); count],
            listed: vec![None; count],
            unlisted: (0..count).collect(),
        })
    }

    async fn wait_for_lists(&mut self) -> Result<()> {
        while !self.unlisted.is_empty() {
            self.next().await?;
        }
        Ok(())
    }

    async fn watch(&mut self) {
        while self.next().await.is_ok() {}
        future::pending::<()>().await;
    }

    /// Waits until the state has been as expected for two seconds. Returns the differences that remain at the timeout.
    async fn settle(&mut self, testimony: &Testimony) -> Vec<String> {
        let wrong_clocks = testimony.skew.iter().map(|skew| skew.unsigned_abs()).max().unwrap_or(0);
        let end = Instant::now() + TIMEOUT + Duration::from_secs(wrong_clocks);
        let mut calm_since = None;
        loop {
            let pause = sleep(Duration::from_millis(500));
            tokio::select! {
                () = pause => {}
                () = self.watch() => {}
            }
            let history = History::new(&self.lines);
            let left = unsettled(&history, Timestamp::now());
            let calm = *calm_since.get_or_insert_with(Instant::now);
            if !left.is_empty() {
                calm_since = None;
            } else if calm.elapsed() > Duration::from_secs(2) {
                return left;
            }
            if Instant::now() > end {
                return left;
            }
        }
    }

    async fn next(&mut self) -> Result<()> {
        let (kind, event) = self.events.next().await.context("the watches ended")?;
        match event {
            // The watcher retries, and the next list contains the missed changes.
            Err(_) => {}
            Ok(Event::Init) => self.listed[kind] = Some(BTreeMap::new()),
            Ok(Event::InitApply(object)) => {
                if let Some(listed) = &mut self.listed[kind] {
                    listed.insert(uid(&object), object.clone());
                }
                let known = self.there[kind].get(&uid(&object));
                if known
                    .is_none_or(|known| known.metadata.resource_version != object.metadata.resource_version)
                {
                    self.record(kind, Change::Present, object)?;
                }
            }
            Ok(Event::InitDone) => {
                let listed = self.listed[kind].take().unwrap_or_default();
                let gone: Vec<_> =
                    self.there[kind].values().filter(|o| !listed.contains_key(&uid(o))).cloned().collect();
                for object in gone {
                    self.record(kind, Change::Gone, object)?;
                }
                self.unlisted.retain(|unlisted| *unlisted != kind);
            }
            Ok(Event::Apply(object)) => self.record(kind, Change::Present, object)?,
            Ok(Event::Delete(object)) => self.record(kind, Change::Gone, object)?,
        }
        Ok(())
    }

    fn record(&mut self, kind: usize, change: Change, object: DynamicObject) -> Result<()> {
        if change == Change::Present {
            self.there[kind].insert(uid(&object), object.clone());
        } else {
            self.there[kind].remove(&uid(&object));
        }
        let line = Line { at: Timestamp::now(), change, object: serde_json::to_value(object)? };
        serde_json::to_writer(&mut self.file, &line)?;
        writeln!(self.file)?;
        self.lines.push(line);
        Ok(())
    }
}

/// The sources for objects of `kind`. They exclude the objects of other tenants, which the witness cannot parse.
fn sources(
    client: &Client,
    kind: &ApiResource,
    namespaces: &[String],
) -> Vec<(Api<DynamicObject>, watcher::Config)> {
    let in_one =
        |namespace: &str| (Api::namespaced_with(client.clone(), namespace, kind), watcher::Config::default());
    match kind.kind.as_str() {
        "RiskLevel" => {
            let not_hostile = watcher::Config::default().labels(&format!("!{HOSTILE}"));
            vec![(Api::all_with(client.clone(), kind), not_hostile)]
        }
        "Lease" => vec![in_one(NAMESPACE)],
        _ => namespaces.iter().map(|namespace| in_one(namespace)).collect(),
    }
}

fn uid(object: &DynamicObject) -> String {
    object.metadata.uid.clone().unwrap_or_default()
}

/// Judges the history of an earlier run.
pub fn judge_file(history: &PathBuf, testimony: &Testimony) -> Result<Verdict> {
    let text = std::fs::read_to_string(history)?;
    let lines = text.lines().map(serde_json::from_str::<Line>).collect::<Result<Vec<_>, _>>()?;
    let (violations, figures) = judge(&History::new(&lines), testimony);
    let story = violations.first().map_or_else(Vec::new, |first| story::of(first, &lines, testimony));
    Ok(Verdict { violations, figures, story, settled: Duration::ZERO })
}
