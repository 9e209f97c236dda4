//! Runs the faults of the plan, repairs the damage, and records each outage for the witness.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use assent_tests::{Assent, Component, ControlPlane, Process};
use futures::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use crate::plan::{Fault, Kind, OPERATORS, Plan, Target};
use crate::proxy::{Proxy, Traffic};
use crate::tenants::Tenants;

/// The time between two checks for processes that ended by themselves. The test starts such processes again, as a
/// kubelet does.
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// A period in which a component did not work, or worked badly.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// The component, such as `operator-0` or `etcd`.
    pub who: String,
    /// The fault, such as `Kill`. `Exit` means that the process ended by itself.
    pub what: String,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// All targets of faults, and the records of these faults.
pub struct Stage<'a> {
    pub cluster: &'a ControlPlane,
    pub operators: [Assent; OPERATORS],
    /// For each operator, the proxy between this operator and the API server.
    pub proxies: [Proxy; OPERATORS],
    pub tenants: Tenants<'a>,
    /// The finished outages. When the witness measures how fast Assent acts, it subtracts the time of these outages.
    pub outages: Mutex<Vec<Outage>>,
    /// The targets of current faults. [`Stage::restart_exited`] does not restart them.
    pub broken: Mutex<Vec<Target>>,
}

impl Stage<'_> {
    /// Runs all faults of the plan. Returns when `length` is over and all faults have ended.
    pub async fn play(&self, plan: &Plan, length: Duration) -> Result<()> {
        let begin = Instant::now();
        self.proxies.iter().for_each(|proxy| proxy.set(Traffic::FewErrors));
        let faults = join_all(plan.faults.iter().map(|fault| self.run_fault(fault, begin)));
        let keeping = async {
            tokio::join!(faults, sleep_until(begin + length));
        };
        tokio::select! {
            () = keeping => {}
            kept = self.restart_exited() => return kept,
        }
        self.proxies.iter().for_each(|proxy| proxy.set(Traffic::Normal));
        Ok(())
    }

    /// Restarts processes that ended by themselves, until the future is dropped.
    pub async fn restart_exited(&self) -> Result<()> {
        let targets = (0..OPERATORS).map(Target::Operator).chain(Component::ALL.map(Target::Component));
        let targets: Vec<_> = targets.collect();
        loop {
            let checked = Timestamp::now();
            sleep(CHECK_INTERVAL).await;
            for target in &targets {
                let broken = self.broken().contains(target);
                let process = self.process(*target)?;
                if !broken && !process.is_running() {
                    process.restart()?;
                    self.note(*target, "Exit", checked);
                }
            }
        }
    }

    async fn run_fault(&self, fault: &Fault, begin: Instant) {
        sleep_until(begin + fault.at).await;
        // The acts of another tenant must not slow down Assent, so they count as no outage.
        match fault.target {
            Target::Hostile(specimen) => return self.tenants.create_odd(specimen, fault).await,
            Target::Flood => return self.tenants.flood(fault.lasts).await,
            Target::Operator(_) | Target::Component(_) => {}
        }
        let from = Timestamp::now();
        self.broken().push(fault.target);
        let done = self.apply(fault).await;
        self.broken().retain(|target| *target != fault.target);
        self.note(fault.target, &format!("{:?}", fault.kind), from);
        if let Err(error) = done {
            eprintln!("{fault}: {error:#}");
        }
    }

    async fn apply(&self, fault: &Fault) -> Result<()> {
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
                proxy.set(Traffic::ManyErrors(percent));
                sleep(fault.lasts).await;
                proxy.set(Traffic::FewErrors);
            }
            (Kind::Partition, Some(proxy)) => {
                proxy.set(Traffic::Blocked);
                sleep(fault.lasts).await;
                proxy.set(Traffic::FewErrors);
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
