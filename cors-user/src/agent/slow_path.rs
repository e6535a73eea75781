//! The slow path's part of the metrics: see [`super::metrics`].
//!
//! A reason has the name that it has in the driver, where that knows it. An upstream is called as in the
//! policy file.

use std::{collections::HashMap, fmt};

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};

use super::{
    metrics::{count_one, gauge},
    status,
};
use crate::proxy::{Latency, Proxy, latency::BOUNDS_US};

/// Encodes them.
pub(super) fn encode(proxy: &status::Proxy, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Connections of clients that are open.";
    gauge(to, "proxy_connections", help, None, &proxy.connections)?;
    let help = "Forwarded requests whose response is not over.";
    gauge(to, "proxy_requests_in_flight", help, None, &proxy.requests.in_flight)?;
    let (events, reasons): (Vec<_>, Vec<_>) =
        proxy.counters.iter().partition(|(name, _)| Proxy::is_event(name));
    for (name, help, label, counters) in [
        (
            "proxy_decisions",
            "Requests that the proxy decided on, by the reason.",
            "reason",
            reasons,
        ),
        ("proxy_events", "What happened in the proxy.", "event", events),
    ] {
        let mut counter = to.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in counters {
            count_one(&mut counter, &[(label, value.as_str())], *count)?;
        }
    }
    let help = "Requests from their head to the end of the response, by what became of them.";
    let mut metric = histogram(to, "proxy_request_duration", help)?;
    for (outcome, latency) in &proxy.requests.durations {
        add(&mut metric, &[("outcome", outcome.as_str())], latency)?;
    }
    upstreams(proxy, to)
}

fn upstreams(proxy: &status::Proxy, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help =
        "Whether an upstream is asked in its turn: 0 where it could not be connected to lately.";
    let mut up = to.encode_descriptor("upstream_up", help, None, MetricType::Gauge)?;
    for (name, health) in &proxy.upstreams {
        up.encode_family(&[("upstream", name.as_str())])?.encode_gauge(&u64::from(health.up))?;
    }
    let help = "Requests to an upstream, by how they ended.";
    let mut counter = to.encode_descriptor("upstream_requests", help, None, MetricType::Counter)?;
    for (name, health) in &proxy.upstreams {
        for (result, count) in &health.results {
            let labels = [("upstream", name.as_str()), ("result", result.as_str())];
            count_one(&mut counter, &labels, *count)?;
        }
    }
    let help = "Responses of an upstream that had CORS headers of its own.";
    let mut counter = to.encode_descriptor("upstream_own_cors", help, None, MetricType::Counter)?;
    for (name, count) in &proxy.own_cors {
        count_one(&mut counter, &[("upstream", name.as_str())], *count)?;
    }
    let help = "How long it took to connect to an upstream, TLS included.";
    let mut metric = histogram(to, "upstream_connect", help)?;
    for (name, health) in &proxy.upstreams {
        add(&mut metric, &[("upstream", name.as_str())], &health.connect)?;
    }
    let help = "How long an upstream took from the request to the head of its response.";
    let mut metric = histogram(to, "upstream_first_byte", help)?;
    for (name, health) in &proxy.upstreams {
        add(&mut metric, &[("upstream", name.as_str())], &health.first_byte)?;
    }
    Ok(())
}

fn histogram<'a>(
    to: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &'a str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    to.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)
}

fn add(metric: &mut MetricEncoder<'_>, labels: &[(&str, &str); 1], of: &Latency) -> fmt::Result {
    let seconds = |us: u64| std::time::Duration::from_micros(us).as_secs_f64();
    // Above the last bound there is no other.
    let bounds = BOUNDS_US.iter().map(|us| seconds(*us)).chain([f64::MAX]);
    let buckets: Vec<(f64, u64)> = bounds.zip(of.buckets.iter().copied()).collect();
    let none = None::<&HashMap<usize, Exemplar<[(&str, &str); 0], f64>>>;
    metric.encode_family(labels)?.encode_histogram(seconds(of.sum_us), of.count(), &buckets, none)
}
