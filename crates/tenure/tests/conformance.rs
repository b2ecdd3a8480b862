//! The native host keeps the contract that the protocols are proved on.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "a test looks at the real system"
)]

use tenure::host::{Native, conformance};

#[test]
fn the_native_host_conforms() {
    for (name, case) in conformance::cases::<Native>() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("target", directory.path().join("link")).unwrap();
        println!("{name}");
        case(&Native, directory.path());
    }
}
