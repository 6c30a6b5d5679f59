//! Which of the versions that tests should meet were met.
//!
//! A server that only stands in for another is not a meeting with it: the line says who stood in.

use crate::services::state::{Origin, Server};
use crate::services::{Edition, Service, docker_engine};

/// One line that names every version of `docker-compose.test.yml` which is not among `servers`; none where all
/// are.
pub(super) fn not_met(services: &[Service], servers: &[Server]) -> Option<String> {
    let missing: Vec<String> = services.iter().filter_map(|service| missing(service, servers)).collect();
    (!missing.is_empty()).then(|| format!("not met here: {}", missing.join(", ")))
}

fn missing(service: &Service, servers: &[Server]) -> Option<String> {
    let own: Vec<&Server> = servers.iter().filter(|server| server.service == service.name).collect();
    if service.is_engine {
        return docker_engine::not_met(service, own.first().copied());
    }
    let met = |edition: &Edition| own.iter().any(|server| is_edition(server, edition));
    let titles: Vec<&str> =
        service.editions.iter().filter(|edition| !met(edition)).map(|edition| edition.title).collect();
    if titles.is_empty() {
        return None;
    }
    let others: Vec<String> = own.iter().map(|server| instead(service, server)).collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    Some(format!("{}{others}", titles.join(" and ")))
}

fn is_edition(server: &Server, edition: &Edition) -> bool {
    match &server.origin {
        Origin::Docker { service, .. } => service == edition.container,
        Origin::Native(_) | Origin::Found => {
            server.stand_in.is_none() && server.version.starts_with(edition.version)
        }
    }
}

/// What was met in its place.
fn instead(service: &Service, server: &Server) -> String {
    match &server.stand_in {
        Some(name) => format!("{name} stood in"),
        None => format!("{} {} met", service.title, server.version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::launch::Facts;
    use crate::services::{mongodb, postgres};

    fn container(service: &str, version: &str, name: &str) -> Server {
        let origin = Origin::Docker { service: name.to_owned(), container: String::new() };
        let server = Facts::new(1).server(&postgres::SERVICE, origin);
        Server { service: service.to_owned(), version: version.to_owned(), ..server }
    }

    #[test]
    fn a_stand_in_is_no_meeting_and_is_named() {
        let server = container("mongodb", "8.2.11", "a stranger");
        let server = Server { stand_in: Some("SecantusDB 0.7".to_owned()), ..server };
        let line = not_met(&[mongodb::SERVICE], &[server]).unwrap();
        assert_eq!(line, "not met here: MongoDB 8 and MongoDB 7 (SecantusDB 0.7 stood in)");
    }

    #[test]
    fn what_was_met_is_not_missed_and_another_version_is_told() {
        let met = container("postgres", "17.2", "postgres17");
        let line = not_met(&[postgres::SERVICE], &[met]).unwrap();
        assert_eq!(line, "not met here: PostgreSQL 14 (PostgreSQL 17.2 met)");
        let both = [container("postgres", "17.2", "postgres17"), container("postgres", "14.9", "postgres14")];
        assert_eq!(not_met(&[postgres::SERVICE], &both), None);
    }

    #[test]
    fn nothing_at_all_leaves_everything_unmet() {
        let line = not_met(&[postgres::SERVICE, mongodb::SERVICE], &[]).unwrap();
        assert_eq!(line, "not met here: PostgreSQL 17 and PostgreSQL 14, MongoDB 8 and MongoDB 7");
    }
}
