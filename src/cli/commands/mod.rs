//! The commands of `kubectl assent`, and the steps that they share.

pub(crate) mod ask;
pub(crate) mod assess;
pub(crate) mod attest;
pub(crate) mod capture;
pub(crate) mod certify;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod decommission;
pub(crate) mod dry_run;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod incident;
pub(crate) mod interactive;
pub(crate) mod inventory;
pub(crate) mod monitor;
pub(crate) mod offline_sign;
pub(crate) mod outcome;
pub(crate) mod overrides;
pub(crate) mod record;
pub(crate) mod resolve;
pub(crate) mod safeguards;
pub(crate) mod sign;
pub(crate) mod status;
pub(crate) mod subject;
pub(crate) mod version;
pub(crate) mod who_can;
