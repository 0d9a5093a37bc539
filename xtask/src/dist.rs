//! `cargo dist`: the packages that the platforms take, in `target/dist`. The same sources make the same bytes: entries are sorted,
//! and bear no time. Built against the oldest C library that a platform may have, by zig's linker, which a Python
//! environment in `target/` holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::Args;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

#[derive(Args, Debug)]
pub(crate) struct DistArgs {
    /// Only these: aws, azure
    #[arg(value_name = "PLATFORM", value_parser = ["aws", "azure"])]
    platforms: Vec<String>,
    /// Take the binary of this cargo profile
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
}

/// What one platform takes.
struct Package {
    platform: &'static str,
    /// The crate.
    package: &'static str,
    /// Its binary.
    binary: &'static str,
    /// Files beside it: where they are in this repository, and their name in the package.
    files: &'static [(&'static str, &'static str)],
    /// The newest symbols of glibc that the platform surely has, as in `GLIBC_2.31`.
    glibc_minor: u32,
    /// Cold starts load the whole package, so it is kept below this.
    zip_mib_max: usize,
}

const PACKAGES: &[Package] = &[
    Package {
        platform: "aws",
        package: "lakekey-aws",
        // The name that a custom runtime is started by.
        binary: "bootstrap",
        files: &[],
        // Amazon Linux 2023.
        glibc_minor: 34,
        zip_mib_max: 10,
    },
    Package {
        platform: "azure",
        package: "lakekey-azure",
        binary: "lakekey-azure",
        files: &[
            ("host.json", "host.json"),
            ("functions/azure/triggers/api/function.json", "api/function.json"),
            ("functions/azure/triggers/nearexpiry/function.json", "nearexpiry/function.json"),
            ("functions/azure/triggers/schedule/function.json", "schedule/function.json"),
            ("functions/azure/triggers/worker/function.json", "worker/function.json"),
        ],
        // Debian 11, the oldest image of the platform.
        glibc_minor: 31,
        zip_mib_max: 12,
    },
];

pub(crate) fn dist(args: &DistArgs) -> anyhow::Result<ExitCode> {
    let root = root();
    let tools = tools(&root)?;
    let folder = root.join("target/dist");
    fs::create_dir_all(&folder)?;
    let asked =
        |package: &&Package| args.platforms.is_empty() || args.platforms.iter().any(|platform| platform == package.platform);
    for package in PACKAGES.iter().filter(asked) {
        let binary = package.build(&root, &tools, &args.profile)?;
        let newest = newest_glibc(&binary);
        ensure!(
            newest <= package.glibc_minor,
            "the binary needs GLIBC_2.{newest}, and the platform has 2.{}",
            package.glibc_minor
        );
        let zip = package.pack(&root, &binary)?;
        let path = folder.join(format!("lakekey-{}.zip", package.platform));
        fs::write(&path, &zip).with_context(|| format!("{} can't be written", path.display()))?;
        let mib = |bytes: usize| bytes as f64 / MIB as f64;
        writeln!(
            std::io::stdout(),
            "{}: {:.2} MiB (under {}), its binary {:.2} MiB and at home on glibc 2.{newest}",
            path.display(),
            mib(zip.len()),
            package.zip_mib_max,
            mib(binary.len())
        )?;
        ensure!(zip.len() < package.zip_mib_max * MIB, "{} is larger than it may be", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

impl Package {
    fn build(&self, root: &Path, tools: &Path, profile: &str) -> anyhow::Result<Vec<u8>> {
        let target = format!("{TARGET}.2.{}", self.glibc_minor);
        let path = std::env::join_paths(
            std::iter::once(tools.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        )?;
        let arguments = ["zigbuild", "--locked", "--profile", profile, "--target", &target, "--package", self.package];
        let status = Command::new("cargo").args(arguments).env("PATH", path).current_dir(root).status()?;
        ensure!(status.success(), "`cargo {}` failed", arguments.join(" "));
        let built = root.join("target").join(TARGET).join(profile).join(self.binary);
        fs::read(&built).with_context(|| format!("{} is not there", built.display()))
    }

    fn pack(&self, root: &Path, binary: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut entries: BTreeMap<&str, (u32, Vec<u8>)> = BTreeMap::new();
        entries.insert(self.binary, (0o755, binary.to_vec()));
        for (from, name) in self.files {
            let bytes = fs::read(root.join(from)).with_context(|| format!("{from} can't be read"))?;
            entries.insert(name, (0o644, bytes));
        }
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, (mode, bytes)) in entries {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .compression_level(Some(ZOPFLI))
                .last_modified_time(zip::DateTime::default())
                .unix_permissions(mode);
            zip.start_file(name, options)?;
            zip.write_all(&bytes)?;
        }
        Ok(zip.finish()?.into_inner())
    }
}

/// The programs of a Python environment with the linker, made once.
fn tools(root: &Path) -> anyhow::Result<PathBuf> {
    let environment = root.join("target/parts/dist");
    let programs = environment.join("bin");
    if !programs.join("cargo-zigbuild").exists() {
        let run = |program: &Path, arguments: &[&str]| {
            let status = Command::new(program)
                .args(arguments)
                .status()
                .with_context(|| format!("{} can't be started", program.display()))?;
            ensure!(status.success(), "`{} {}` failed", program.display(), arguments.join(" "));
            Ok(())
        };
        run(Path::new("python3"), &["-m", "venv", &environment.display().to_string()])?;
        run(&programs.join("pip"), &["install", "--quiet", "--disable-pip-version-check", ZIG, ZIGBUILD])?;
    }
    Ok(programs)
}

/// The newest version of glibc's symbols that a binary asks for; their names are text in it.
fn newest_glibc(binary: &[u8]) -> u32 {
    let mark = b"GLIBC_2.";
    let versions = binary.windows(mark.len()).enumerate().filter(|(_, window)| window == mark).map(|(at, _)| {
        let digits = binary[at + mark.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    });
    versions.max().unwrap_or_default()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Beyond zlib's nine levels: some iterations of zopfli, which takes a minute and gains a twentieth.
const ZOPFLI: i64 = 15;
const TARGET: &str = "x86_64-unknown-linux-gnu";
const ZIG: &str = "ziglang==0.13.0.post1";
const ZIGBUILD: &str = "cargo-zigbuild==0.24.1";
const MIB: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_package_is_the_same_each_time_and_has_everything_at_its_place() {
        let package = PACKAGES.iter().find(|package| package.platform == "azure").unwrap();
        let binary = b"\x7fELF".repeat(1000);
        let zip = package.pack(&root(), &binary).unwrap();
        assert_eq!(zip, package.pack(&root(), &binary).unwrap());

        let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        let functions = fs::read_dir(root().join("functions/azure/triggers")).unwrap();
        let mut expected: Vec<String> =
            functions.map(|folder| format!("{}/function.json", folder.unwrap().file_name().display())).collect();
        expected.extend(["host.json", "lakekey-azure"].map(str::to_owned));
        expected.sort();
        assert_eq!(names, expected, "every function is in the package");

        let host: serde_json::Value = serde_json::from_reader(archive.by_name("host.json").unwrap()).unwrap();
        let executable = host["customHandler"]["description"]["defaultExecutablePath"].as_str().unwrap();
        let mut found = archive.by_name(executable).unwrap();
        assert_eq!(found.unix_mode().map(|mode| mode & 0o777), Some(0o755));
        let mut bytes = Vec::new();
        found.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, binary);
    }

    #[test]
    fn the_newest_glibc_that_is_asked_for_is_found() {
        assert_eq!(newest_glibc(b"\0GLIBC_2.2.5\0GLIBC_2.30\0GLIBC_2.17\0GLIBC_PRIVATE\0"), 30);
        assert_eq!(newest_glibc(b"static"), 0);
    }
}
