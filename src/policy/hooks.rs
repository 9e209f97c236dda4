//! Reads the commands of the lifecycle hooks and probes of a container, and the HTTP requests of its lifecycle hooks.
//!
//! The comparison leaves out the requests of probes, but a probe must not set a host for its request.

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::util::intstr::IntOrString};

use super::{
    convert::{is_set, texts},
    unmatchable::{Unmatchable, refuse, refuse_of},
};
use crate::api::{ExecHooks, HttpGet, HttpHeader, HttpHooks, Text};

pub(super) fn hooks(container: &core::Container) -> Result<(ExecHooks, HttpHooks), Unmatchable> {
    let core::Container { name, lifecycle, liveness_probe, readiness_probe, startup_probe, .. } = container;
    let (post_start, pre_stop) = match lifecycle {
        Some(core::Lifecycle { post_start, pre_stop, stop_signal: _ }) => {
            (post_start.as_ref(), pre_stop.as_ref())
        }
        None => (None, None),
    };
    let exec = ExecHooks {
        post_start: command(post_start.and_then(|hook| hook.exec.as_ref())),
        pre_stop: command(pre_stop.and_then(|hook| hook.exec.as_ref())),
        liveness_probe: probe(name, liveness_probe.as_ref())?,
        readiness_probe: probe(name, readiness_probe.as_ref())?,
        startup_probe: probe(name, startup_probe.as_ref())?,
    };
    Ok((exec, HttpHooks { post_start: request(name, post_start)?, pre_stop: request(name, pre_stop)? }))
}

fn command(exec: Option<&core::ExecAction>) -> Vec<Text> {
    texts(exec.and_then(|exec| exec.command.as_ref()))
}

/// The command of a probe. Returns an error if the probe sets a host, so that the node probes the pod itself.
fn probe(container: &str, probe: Option<&core::Probe>) -> Result<Vec<Text>, Unmatchable> {
    let Some(probe) = probe else { return Ok(Vec::new()) };
    let this = format_args!("a probe of container {container}");
    let host = probe.http_get.as_ref().and_then(|get| get.host.as_ref());
    refuse_of(is_set(host), "containers.probe.httpGet.host", this)?;
    let host = probe.tcp_socket.as_ref().and_then(|tcp| tcp.host.as_ref());
    refuse_of(is_set(host), "containers.probe.tcpSocket.host", this)?;
    Ok(command(probe.exec.as_ref()))
}

/// The HTTP request of a hook. Returns an error if the hook sets a host, so that the node sends the request to the pod
/// itself.
fn request(container: &str, hook: Option<&core::LifecycleHandler>) -> Result<Option<HttpGet>, Unmatchable> {
    let Some(core::LifecycleHandler { http_get, tcp_socket, exec: _, sleep: _ }) = hook else {
        return Ok(None);
    };
    let this = format_args!("a hook of container {container}");
    refuse_of(tcp_socket.is_some(), "containers.lifecycle.hook.tcpSocket", this)?;
    let Some(core::HTTPGetAction { host, http_headers, path, port, protocol, scheme }) = http_get else {
        return Ok(None);
    };
    refuse_of(is_set(host.as_ref()), "containers.lifecycle.hook.httpGet.host", this)?;
    refuse_of(protocol.is_some(), "containers.lifecycle.hook.httpGet.protocol", this)?;
    let IntOrString::Int(port) = port else {
        let field = "containers.lifecycle.hook.httpGet.port";
        return refuse(true, field, format_args!("the name of a port in {this}")).map(|()| None);
    };
    let or = |text: &Option<String>, default: &str| {
        text.as_deref().filter(|text| !text.is_empty()).unwrap_or(default).into()
    };
    let header = |header: &core::HTTPHeader| HttpHeader {
        name: header.name.as_str().into(),
        value: header.value.as_str().into(),
    };
    Ok(Some(HttpGet {
        path: or(path, "/"),
        port: *port,
        scheme: or(scheme, "HTTP"),
        http_headers: http_headers.iter().flatten().map(header).collect(),
    }))
}
