//! Which bridges a runner has: those that were compiled in, and those that were brought along. A value that is handed down,
//! not a global; its clones see the same plugins come and go.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bridge_core::Driver;

/// What the package names of the native bridges begin with; without it a name is a short form.
pub(crate) const FAMILY: &str = "@semilayer/bridge-";

/// The drivers that a runner has.
#[derive(Clone, Default)]
pub struct Registry {
    native: Vec<&'static dyn Driver>,
    plugins: Arc<ArcSwap<Vec<Arc<dyn Driver>>>>,
}

/// One driver, native or brought along. Whoever holds it keeps it, also when the registry has another by then.
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
        Self { native: bridges::DRIVERS.to_vec(), ..Self::default() }
    }

    /// The same with one more driver. It takes the place of one with the same name that was brought along.
    #[must_use]
    pub fn with(self, driver: Arc<dyn Driver>) -> Self {
        let others = self.plugins.load_full();
        let others = others.iter().filter(|other| other.name() != driver.name()).cloned();
        let plugins = others.chain([Arc::clone(&driver)]).collect();
        self.bring(plugins);
        self
    }

    /// Replaces all drivers that were brought along, for all clones. Those of them that have a native driver's name are
    /// never found.
    pub(crate) fn bring(&self, plugins: Vec<Arc<dyn Driver>>) {
        self.plugins.store(Arc::new(plugins));
    }

    /// The driver of that package name, or of that short form: `postgres` is `@semilayer/bridge-postgres`.
    pub fn find(&self, name: &str) -> Option<DriverRef> {
        self.drivers().into_iter().find(|driver| driver.name() == name || driver.short_name() == Some(name))
    }

    /// Whether a native driver has that package name.
    pub(crate) fn is_native(&self, name: &str) -> bool {
        self.native.iter().any(|driver| driver.name() == name)
    }

    /// All drivers now, the native ones first.
    pub fn drivers(&self) -> Vec<DriverRef> {
        let native = self.native.iter().copied().map(DriverRef::Native);
        let plugins = self.plugins.load_full();
        let brought = plugins.iter().filter(|plugin| !self.is_native(plugin.name()));
        native.chain(brought.cloned().map(DriverRef::Shared)).collect()
    }

    /// Package names, for `hello` and for messages.
    pub fn names(&self) -> Vec<String> {
        self.drivers().iter().map(|driver| driver.name().to_owned()).collect()
    }
}

impl DriverRef {
    /// Whether it was compiled in.
    pub fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }

    /// Whether both are the very same driver, not only two of the same name.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Native(one), Self::Native(two)) => one.name() == two.name(),
            (Self::Shared(one), Self::Shared(two)) => Arc::ptr_eq(one, two),
            (Self::Native(_), Self::Shared(_)) | (Self::Shared(_), Self::Native(_)) => false,
        }
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
        f.debug_list().entries(self.drivers()).finish()
    }
}
