//! Bugs on purpose: which of those that are compiled in is active.
//!
//! Without its feature a bug is not there: the condition is `false` when it is compiled. No release
//! build has any.

use std::sync::OnceLock;

#[cfg(all(feature = "planting", not(debug_assertions)))]
compile_error!("a planted bug must not be in a release build");

/// Whether a planted bug is active, by the name of its feature in the crate that asks.
#[macro_export]
macro_rules! planted {
    ($feature:tt) => {
        cfg!(feature = $feature) && $crate::planted::is($feature)
    };
}

/// Whether `PORTOLAN_PLANTED` names the bug of this feature: `B05` that of `planted_b05`. Read once.
#[expect(clippy::disallowed_methods, reason = "only a build with a bug on purpose gets here")]
#[must_use]
pub fn is(feature: &str) -> bool {
    static ACTIVE: OnceLock<String> = OnceLock::new();
    let read = || std::env::var("PORTOLAN_PLANTED").unwrap_or_default().to_lowercase();
    feature.strip_prefix("planted_") == Some(ACTIVE.get_or_init(read).as_str())
}
