//! Links a function at a fixed address, as Go does its programs: at every start of a movable one the loader writes tens of
//! thousands of pointers, which takes longer than all that the function does until its first answer. Libraries, stack and heap
//! are where the kernel puts them at random all the same.

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "so a build script and cargo talk")]
fn main() {
    println!("cargo::rerun-if-env-changed=CARGO_CFG_TARGET_OS");
    let is = |variable: &str, word: &str| std::env::var(variable).is_ok_and(|found| found == word);
    // With musl a program is static and relocates itself: another way to link, which this argument would break.
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
