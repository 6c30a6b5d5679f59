//! What the health port says.

use std::sync::Arc;

use runtime::health::{Health, Readiness};
use serde_json::{Value, json};

use crate::link::shown;
use crate::runner::Runner;

/// Answers for the daemon.
pub(crate) struct RunnerHealth(pub(crate) Arc<Runner>);

impl Health for RunnerHealth {
    /// Ready is: a session is acknowledged, and jobs are taken. A source without settings makes it `degraded`, not
    /// unready: the others work.
    fn ready(&self) -> Readiness {
        let runner = &self.0;
        let (connected, draining) = (runner.status.is_connected(), runner.is_draining());
        let (total, unconfigured) = runner.sources.count();
        let status = match (draining, connected) {
            (true, _) => "draining",
            (false, true) if unconfigured > 0 => "degraded",
            (false, true) => "ready",
            (false, false) if runner.status.is_refused() => "refused",
            (false, false) => "connecting",
        };
        let mut body = json!({
            "status": status,
            "connected": connected,
            "draining": draining,
            "activeJobs": runner.active(),
            "sources": {"total": total, "unconfigured": unconfigured},
        });
        if let (Some(reason), Some(fields)) = (runner.status.reason(), body.as_object_mut()) {
            fields.insert("reason".to_owned(), Value::String(reason));
        }
        Readiness { ready: connected && !draining, body }
    }

    fn status(&self) -> Value {
        let runner = &self.0;
        let config = runner.config();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "runnerId": config.runner_id,
            "instanceId": runner.instance,
            "gateway": shown(&config.gateway),
            "link": runner.status.describe(),
            "draining": runner.is_draining(),
            "activeJobs": runner.active(),
            "maxJobs": config.max_jobs,
            "exec": {
                "modes": config.exec.modes,
                "active": runner.execs.active(),
                "max": config.exec.max_exec,
                "docker": runner.execs.has_docker(),
            },
            "bridges": runner.registry.names(),
            "plugins": runner.plugins.status(),
            "sources": runner.sources.status(),
        })
    }

    fn metrics(&self) -> String {
        for (name, pool) in self.0.sources.pools() {
            self.0.metrics.pool(&name, pool.in_use);
        }
        self.0.metrics.docker(self.0.execs.has_docker());
        let plugins = &self.0.plugins;
        self.0.metrics.plugins(&plugins.problems(), &plugins.uses());
        self.0.metrics.encode()
    }
}
