//! Elasticsearch and OpenSearch as a plugin, over HTTP.
//!
//! Filters, orders, pages and counts are the engine's wherever it answers exactly what the runner's words mean. What it
//! answers only roughly is looked at again here, document by document; what it cannot order or add up exactly is left to
//! the runner.

mod aggregate;
mod config;
mod connect;
mod error;
mod execute;
mod introspect;
mod jobs;
mod position;
mod ranked;
mod translate;
mod values;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use semilayer_plugin::options::{
    AggregateOptions, CountOptions, Projection, QueryOptions, ReadOptions, SearchOptions, SimilarOptions,
};
use semilayer_plugin::{
    Aggregates, Bridge, Capabilities, Counted, Description, Error, Mistake, Provides, Rows, Schema,
};

use crate::config::Config;
use crate::connect::Server;
use crate::introspect::{Index, check_target};

/// How long a mapping is taken for what it was.
const MAPPING_AGE: Duration = Duration::from_secs(30);
/// Targets whose mappings are remembered.
const MAPPINGS: usize = 64;

/// A cluster.
#[derive(Debug)]
pub struct Elasticsearch {
    server: Server,
    mappings: HashMap<String, (Instant, Rc<Index>)>,
}

impl Bridge for Elasticsearch {
    type Config = Config;

    const PROVIDES: Provides = Provides::all();

    fn describe() -> Description {
        let aggregates = Aggregates::GROUP_BY
            | Aggregates::TIME_BUCKET
            | Aggregates::NUMERIC_BUCKET
            | Aggregates::COUNT
            | Aggregates::SUM
            | Aggregates::AVG
            | Aggregates::MIN_MAX
            | Aggregates::HAVING
            | Aggregates::ORDER_LIMIT;
        let description = Description::new("@semilayer/bridge-elasticsearch", "Elasticsearch")
            .version(env!("CARGO_PKG_VERSION"))
            .icon("elasticsearch")
            .capabilities(Capabilities::all())
            .aggregates(aggregates);
        config::fields(description)
    }

    fn check(config: &Config) -> Vec<Mistake> {
        config.mistakes()
    }

    fn connect(config: Config) -> Result<Self, Error> {
        Ok(Self { server: Server::connect(&config)?, mappings: HashMap::new() })
    }

    fn test(&mut self) -> Result<(), Error> {
        self.server.ask().map(drop)
    }

    fn targets(&mut self) -> Result<Vec<String>, Error> {
        self.server.targets()
    }

    fn schema(&mut self, target: &str) -> Result<Schema, Error> {
        let index = self.mapping(target)?;
        introspect::describe(&self.server, target, &index)
    }

    fn read(&mut self, target: &str, options: ReadOptions) -> Result<Rows, Error> {
        let tracking = options.changed_since.is_some().then_some(options.change_tracking_column.as_str());
        let index = self.index(target, projected(&options.projection).chain(tracking))?;
        jobs::read(&self.server, target, index, options)
    }

    fn query(&mut self, target: &str, options: QueryOptions) -> Result<Rows, Error> {
        let filtered = options.filter.condition().fields();
        let ordered = options.order_by.iter().map(|key| key.field.as_str());
        let columns = filtered.into_iter().chain(ordered).chain(projected(&options.projection));
        let index = self.index(target, columns)?;
        jobs::query(&self.server, target, index, options)
    }

    fn count(&mut self, target: &str, options: CountOptions) -> Result<Counted, Error> {
        let index = self.index(target, options.filter.condition().fields())?;
        jobs::count(&self.server, target, index, &options.filter).map(Counted::exactly)
    }

    fn aggregate(&mut self, target: &str, options: AggregateOptions) -> Result<Rows, Error> {
        let filtered = options.filter.condition().fields();
        let grouped = options.dimensions.iter().map(|dimension| dimension.field.as_str());
        let measured = options.measures.iter().flat_map(|(_, measure)| {
            measure.filter.condition().fields().into_iter().chain(measure.column.as_deref())
        });
        let index = self.index(target, filtered.into_iter().chain(grouped).chain(measured))?;
        aggregate::aggregate(&self.server, target, &index, &options)
    }

    fn search(&mut self, target: &str, options: SearchOptions) -> Result<Rows, Error> {
        let filtered = options.filter.condition().fields();
        let searched = options.fields.iter().flatten().map(String::as_str);
        let columns = filtered.into_iter().chain(searched).chain(projected(&options.projection));
        let index = self.index(target, columns)?;
        ranked::search(&self.server, target, &index, &options)
    }

    fn similar(&mut self, target: &str, options: SimilarOptions) -> Result<Rows, Error> {
        let filtered = options.filter.condition().fields();
        let columns =
            filtered.into_iter().chain([options.field.as_str()]).chain(projected(&options.projection));
        let index = self.index(target, columns)?;
        ranked::similar(&self.server, target, &index, &options)
    }
}

semilayer_plugin::export!(Elasticsearch);

fn projected(projection: &Projection) -> impl Iterator<Item = &str> {
    projection.pairs().into_iter().flatten().map(|(_, column)| column)
}

impl Elasticsearch {
    /// What the target holds. A mapping that lacks one of these columns may be an old one.
    fn index<'a>(
        &mut self,
        target: &str,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Rc<Index>, Error> {
        check_target(target)?;
        let known = self.mappings.get(target).filter(|(since, _)| since.elapsed() < MAPPING_AGE);
        if let Some((_, index)) = known
            && columns.into_iter().all(|name| index.field(name).is_some())
        {
            return Ok(Rc::clone(index));
        }
        self.mapping(target)
    }

    /// What the target holds now.
    fn mapping(&mut self, target: &str) -> Result<Rc<Index>, Error> {
        check_target(target)?;
        let mut index = Index::read(&self.server.mapping(target)?);
        index.resolve_nulls(&self.server, target)?;
        let index = Rc::new(index);
        if self.mappings.len() >= MAPPINGS {
            self.mappings.clear();
        }
        self.mappings.insert(target.to_owned(), (Instant::now(), Rc::clone(&index)));
        Ok(index)
    }
}

#[cfg(test)]
mod tests;
