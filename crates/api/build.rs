//! Puts the built portal into the program: `portal/dist`, as `scripts/portal build` leaves it. Without it the program builds too,
//! and says on its page how to build the portal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = here.join("../../portal/dist");
    println!("cargo::rerun-if-changed=build.rs");
    // It always exists, or Cargo would run this, and build the crate, every time.
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist, &dist, &mut files)?;
    }
    if !files.iter().any(|path| path == "index.html") {
        println!("cargo::warning=the portal is not built, so this gate will have none: run `scripts/portal build`");
    }
    files.retain(|path| !path.starts_with('.'));
    files.sort();
    let mut code = String::from("/// Every file of the portal, by path.\nstatic FILES: &[File] = &[\n");
    for path in files.iter().filter(|path| !is_compressed(path)) {
        let name = dist.join(path);
        let compressed = |ending: &str| {
            let other = format!("{path}.{ending}");
            if files.contains(&other) { format!("Some(include_bytes!({:?}))", dist.join(other)) } else { "None".to_owned() }
        };
        let (gzip, brotli) = (compressed("gz"), compressed("br"));
        let _ = writeln!(code, "    File {{ path: {path:?}, plain: include_bytes!({name:?}), gzip: {gzip}, brotli: {brotli} }},");
    }
    code.push_str("];\n");
    fs::write(PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("portal.rs"), code)
}

fn is_compressed(path: &str) -> bool {
    path.ends_with(".gz") || path.ends_with(".br")
}

fn collect(root: &Path, dir: &Path, into: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, into)?;
        } else if let Ok(inside) = path.strip_prefix(root) {
            into.push(inside.to_string_lossy().into_owned());
        }
    }
    Ok(())
}
