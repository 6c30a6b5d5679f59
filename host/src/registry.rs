//! Which bridges a runner has: those that were compiled in, and those that were brought along. A value that is handed down,
//! not a global.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bridge_core::Driver;

/// What the package names of the native bridges begin with; without it a name is a short form.
pub(crate) const FAMILY: &str = "@semilayer/bridge-";

/// The drivers that a runner has.
#[derive(Clone, Default)]
pub struct Registry {
    drivers: Vec<DriverRef>,
}

/// One driver, native or brought along.
#[derive(Clone)]
pub enum DriverRef {
    /// Compiled in.
    Native(&'static dyn Driver),
    /// Made at run time.
    Shared(Arc<dyn Driver>),
}

impl Registry {
    /// No drivers.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Every driver that was compiled in.
    pub fn native() -> Self {
        Self { drivers: bridges::DRIVERS.iter().copied().map(DriverRef::Native).collect() }
    }

    /// The same with one more driver. It takes the place of one with the same name.
    #[must_use]
    pub fn with(mut self, driver: Arc<dyn Driver>) -> Self {
        self.drivers.retain(|other| other.name() != driver.name());
        self.drivers.push(DriverRef::Shared(driver));
        self
    }

    /// The driver of that package name, or of that short form: `postgres` is `@semilayer/bridge-postgres`.
    pub fn find(&self, name: &str) -> Option<&DriverRef> {
        self.drivers.iter().find(|driver| driver.name() == name || driver.short_name() == Some(name))
    }

    /// All drivers, in order.
    pub fn iter(&self) -> impl Iterator<Item = &DriverRef> {
        self.drivers.iter()
    }

    /// Package names, for `hello` and for messages.
    pub fn names(&self) -> Vec<String> {
        self.iter().map(|driver| driver.name().to_owned()).collect()
    }
}

impl DriverRef {
    /// Whether it was compiled in.
    pub fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }

    fn short_name(&self) -> Option<&str> {
        self.name().strip_prefix(FAMILY)
    }
}

impl Deref for DriverRef {
    type Target = dyn Driver;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Native(driver) => *driver,
            Self::Shared(driver) => driver.as_ref(),
        }
    }
}

impl fmt::Debug for DriverRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.drivers).finish()
    }
}
