//! Doing what the plan says, putting right what it broke, and noting when what was not as it should be: that
//! is all the witness is told.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use assent_tests::{Assent, Component, ControlPlane, Process};
use futures::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use crate::plan::{Fault, Kind, OPERATORS, Plan, Target};
use crate::proxy::{Proxy, Weather};
use crate::tenants::Tenants;

/// How often somebody looks whether everything runs, as the kubelet does.
const LOOK: Duration = Duration::from_millis(300);

/// When something did not work, or worked badly.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// `operator-0`, `etcd`, …
    pub who: String,
    /// `Kill`, …; `Exit` where it ended by itself.
    pub what: String,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

/// Everything that can be hit.
pub struct Stage<'a> {
    /// The control plane.
    pub cluster: &'a ControlPlane,
    /// The operators.
    pub operators: [Assent; OPERATORS],
    /// What each of them goes through.
    pub proxies: [Proxy; OPERATORS],
    /// Whose objects and floods concern nobody else.
    pub tenants: Tenants<'a>,
    /// What went wrong so far.
    pub outages: Mutex<Vec<Outage>>,
    /// What is broken on purpose at the moment.
    pub broken: Mutex<Vec<Target>>,
}

impl Stage<'_> {
    /// Breaks what the plan says when it says so, for `length`; then everything is put right.
    pub async fn play(&self, plan: &Plan, length: Duration) -> Result<()> {
        let begin = Instant::now();
        self.proxies.iter().for_each(|proxy| proxy.set(Weather::Drizzle));
        let faults = join_all(plan.faults.iter().map(|fault| self.inflict(fault, begin)));
        let keeping = async {
            tokio::join!(faults, sleep_until(begin + length));
        };
        tokio::select! {
            () = keeping => {}
            kept = self.keep_up() => return kept,
        }
        self.proxies.iter().for_each(|proxy| proxy.set(Weather::Calm));
        Ok(())
    }

    /// Starts again what ended by itself; for ever.
    pub async fn keep_up(&self) -> Result<()> {
        let targets = (0..OPERATORS).map(Target::Operator).chain(Component::ALL.map(Target::Component));
        let targets: Vec<_> = targets.collect();
        loop {
            let looked = Timestamp::now();
            sleep(LOOK).await;
            for target in &targets {
                let broken = self.broken().contains(target);
                let process = self.process(*target)?;
                if !broken && !process.is_running() {
                    process.restart()?;
                    self.note(*target, "Exit", looked);
                }
            }
        }
    }

    async fn inflict(&self, fault: &Fault, begin: Instant) {
        sleep_until(begin + fault.at).await;
        // No outage: what another tenant does is no excuse for anything.
        match fault.target {
            Target::Hostile(specimen) => return self.tenants.disturb(specimen, fault).await,
            Target::Flood => return self.tenants.flood(fault.lasts).await,
            Target::Operator(_) | Target::Component(_) => {}
        }
        let from = Timestamp::now();
        self.broken().push(fault.target);
        let done = self.hit(fault).await;
        self.broken().retain(|target| *target != fault.target);
        self.note(fault.target, &format!("{:?}", fault.kind), from);
        if let Err(error) = done {
            eprintln!("{fault}: {error:#}");
        }
    }

    async fn hit(&self, fault: &Fault) -> Result<()> {
        let process = self.process(fault.target)?;
        match (fault.kind, self.proxy(fault.target)) {
            (Kind::Kill, _) => {
                process.kill();
                sleep(fault.lasts).await;
                process.restart()?;
            }
            (Kind::Terminate, _) => {
                process.terminate(Duration::from_secs(10)).await?;
                sleep(fault.lasts).await;
                process.restart()?;
            }
            (Kind::Pause, _) => {
                process.pause()?;
                sleep(fault.lasts).await;
                process.resume()?;
            }
            (Kind::Cut, Some(proxy)) => proxy.cut(),
            (Kind::Storm(percent), Some(proxy)) => {
                proxy.set(Weather::Storm(percent));
                sleep(fault.lasts).await;
                proxy.set(Weather::Drizzle);
            }
            (Kind::Partition, Some(proxy)) => {
                proxy.set(Weather::Partition);
                sleep(fault.lasts).await;
                proxy.set(Weather::Drizzle);
            }
            (Kind::Cut | Kind::Storm(_) | Kind::Partition, None) | (Kind::Odd { .. } | Kind::Flood, _) => {}
        }
        Ok(())
    }

    fn note(&self, target: Target, what: &str, from: Timestamp) {
        let outage = Outage { who: target.to_string(), what: what.to_owned(), from, to: Timestamp::now() };
        self.outages.lock().unwrap_or_else(PoisonError::into_inner).push(outage);
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, Vec<Target>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self, target: Target) -> Result<&Process> {
        match target {
            Target::Operator(n) => Ok(self.operators[n].operator()),
            Target::Component(component) => self.cluster.process(component),
            Target::Hostile(_) | Target::Flood => bail!("{target} has no process"),
        }
    }

    fn proxy(&self, target: Target) -> Option<&Proxy> {
        match target {
            Target::Operator(n) => Some(&self.proxies[n]),
            Target::Component(_) | Target::Hostile(_) | Target::Flood => None,
        }
    }
}
