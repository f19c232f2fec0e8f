//! What is measured, for Prometheus. Names end in their unit.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

const LATENCY_BUCKETS_S: [f64; 13] = [0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 60.0];

/// All measures.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Segments listed as media.
    pub segments_published: IntCounter,
    /// Segments listed as gaps.
    pub segments_failed: IntCounter,
    /// From a segment's last sample arriving to its being listed.
    pub publish_latency_s: Histogram,
    /// Of that, the steps of a live segment's task: `wait` for a worker, `work` with it, `check`.
    pub step_s: HistogramVec,
    /// Verdicts, by kind.
    pub verdicts: IntCounterVec,
    /// Leases that ran out.
    pub leases_expired: IntCounter,
    /// Leases given.
    pub leases_given: IntCounter,
    /// Workers heard lately.
    pub workers_online: IntGauge,
    /// Tasks that nobody who is online can do.
    pub tasks_stuck: IntGauge,
    /// HTTP connections open now.
    pub http_connections: IntGauge,
    /// HTTP connections above the limit.
    pub http_refused: IntCounter,
    /// RTMP connections open now.
    pub rtmp_connections: IntGauge,
    /// Bytes that came over RTMP.
    pub rtmp_bytes: IntGauge,
    /// SRT connections open now.
    pub srt_connections: IntGauge,
    /// Bytes that came over SRT.
    pub srt_bytes: IntGauge,
    /// Packets that never came over SRT.
    pub srt_packets_lost: IntGauge,
    /// SRT publishers that were turned away.
    pub srt_refused: IntGauge,
    /// SRT publishers that were cut off because too much of theirs waited.
    pub srt_overflows: IntGauge,
    /// Streams that segments are pushed into over HTTP now, or that are fetched as segments.
    pub pushes_open: IntGauge,
    /// Streams that are fetched now.
    pub pulls_open: IntGauge,
    /// Bytes that were fetched.
    pub fetched_bytes: IntCounter,
    /// Fetches that failed, by what is done about it.
    pub fetch_failures: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("names are valid");
            registry.register(Box::new(counter.clone())).expect("names are unique");
            counter
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("names are valid");
            registry.register(Box::new(gauge.clone())).expect("names are unique");
            gauge
        };
        let latency = HistogramOpts::new(
            "millrace_publish_latency_seconds",
            "From a live segment's last sample arriving to its being listed.",
        )
        .buckets(LATENCY_BUCKETS_S.to_vec());
        let latency = Histogram::with_opts(latency).expect("names are valid");
        registry.register(Box::new(latency.clone())).expect("names are unique");
        let step = HistogramOpts::new("millrace_step_seconds", "Steps of a live segment's task, by step.");
        let step = HistogramVec::new(step.buckets(LATENCY_BUCKETS_S.to_vec()), &["step"]).expect("names are valid");
        registry.register(Box::new(step.clone())).expect("names are unique");
        let verdicts = Opts::new("millrace_verdicts_total", "Outcomes judged, by verdict.");
        let verdicts = IntCounterVec::new(verdicts, &["verdict"]).expect("names are valid");
        registry.register(Box::new(verdicts.clone())).expect("names are unique");
        let failures = Opts::new("millrace_fetch_failures_total", "Fetches that failed, by kind.");
        let failures = IntCounterVec::new(failures, &["kind"]).expect("names are valid");
        registry.register(Box::new(failures.clone())).expect("names are unique");
        Self {
            segments_published: counter("millrace_segments_published_total", "Segments listed as media."),
            segments_failed: counter("millrace_segments_failed_total", "Segments listed as gaps."),
            publish_latency_s: latency,
            step_s: step,
            verdicts,
            leases_expired: counter("millrace_leases_expired_total", "Leases that ran out."),
            leases_given: counter("millrace_leases_given_total", "Leases given to workers."),
            workers_online: gauge("millrace_workers_online", "Workers heard lately."),
            tasks_stuck: gauge("millrace_tasks_stuck", "Ready tasks that no worker who is online can do."),
            http_connections: gauge("millrace_http_connections", "HTTP connections open now."),
            http_refused: counter("millrace_http_connections_refused_total", "HTTP connections above the limit."),
            rtmp_connections: gauge("millrace_rtmp_connections", "RTMP connections open now."),
            rtmp_bytes: gauge("millrace_rtmp_received_bytes", "Bytes that came over RTMP since the start."),
            srt_connections: gauge("millrace_srt_connections", "SRT connections open now."),
            srt_bytes: gauge("millrace_srt_received_bytes", "Bytes that came over SRT since the start."),
            srt_packets_lost: gauge("millrace_srt_lost_packets", "SRT packets that never came, since the start."),
            srt_refused: gauge("millrace_srt_refused", "SRT publishers turned away since the start."),
            srt_overflows: gauge("millrace_srt_overflows", "SRT publishers cut off since more waited than may."),
            pushes_open: gauge("millrace_pushes_open", "Streams taken as segments now, pushed or fetched."),
            pulls_open: gauge("millrace_pulls_open", "Streams fetched from a URL now."),
            fetched_bytes: counter("millrace_fetched_bytes_total", "Bytes fetched from URLs."),
            fetch_failures: failures,
            registry,
        }
    }
}

impl Metrics {
    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).expect("writing to memory works");
        String::from_utf8(text).unwrap_or_default()
    }
}
